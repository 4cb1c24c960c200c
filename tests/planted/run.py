#!/usr/bin/env python3
"""Plants a mistake into a copy of the library, and demands that the tests notice.

    run.py --build BUILD-TREE [--full] [NAME...]

Each NAME.patch of this folder is one mistake. Above its diff stand lines `key: value`:

    breaks:  the promise that the mistake breaks, one sentence
    source:  the test file that notices it; may be repeated (helpers of a test program)
    fails:   SUITE.NAME of a test that must fail, a filter of GoogleTest; may be repeated
    on:      optional: what CORO_POLLER is set to for the tests

Where a hunk goes is found by its text alone, which must be in the file exactly once.

For each patch the library's folders are copied into BUILD-TREE/planted/NAME. There the test files
are compiled, and linked in front of the library of BUILD-TREE together with the files of src/ that
the patch touches: first as they are, when each test must pass, then with the mistake, when each
must fail. So a mistake costs a few files, and not a library. A header's mistake reaches what the
test file, or a file named by `with: src/x.cpp`, brings with it of it. It must change no layout.

Without names: three, in turn by CORO_TEST_TURN (scripts/test: the commit's id); all of them with
--full, with CORO_TEST_FULL=1, or without a turn.
"""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from allowed_skips import allowed_skips  # noqa: E402

COPIED = ("include", "src", "tests")
AT_A_TIME = 3
LIMIT = 120  # seconds; a test that hangs has noticed
FLAGS = ["-std=c++20", "-O0", "-fPIC", "-w", "-Iinclude", "-Isrc", "-Itests"]
LIBRARIES = ["-luring", "-lboost_context", "-lgtest", "-lgmock", "-lpthread"]
KEYS = {"breaks": 1, "source": None, "fails": None, "with": None, "on": 1}


class not_tried(Exception):
    """A test that would notice cannot run on this machine."""


class planted_error(Exception):
    """A sentence for whoever reads the log."""


class patch:
    def __init__(self, path):
        self.name = path.stem
        self.head = {key: [] for key in KEYS}
        self.hunks = []  # (file, text before, text after)
        text = path.read_text(encoding="utf-8")
        head, found, diff = text.partition("\n--- a/")
        if not found:
            raise planted_error(f"{path.name} has no diff: it needs '--- a/FILE' and '+++ b/FILE'")
        for line in head.splitlines():
            key, colon, value = line.partition(":")
            if not line.strip():
                continue
            if not colon or key not in KEYS:
                raise planted_error(f"{path.name}: '{line}' is no line 'key: value' with one of "
                                    + ", ".join(KEYS))
            self.head[key].append(value.strip())
        for key in ("breaks", "source", "fails"):
            if not self.head[key]:
                raise planted_error(f"{path.name} has no line '{key}: …'")
        for part in ("\n--- a/" + diff).split("\n--- a/")[1:]:
            self.read_file(path, part)

    def read_file(self, path, part):
        lines = part.splitlines()
        file = lines[0].split("\t")[0].strip()
        if len(lines) < 2 or lines[1].split("\t")[0].strip() != "+++ b/" + file:
            raise planted_error(f"{path.name}: below '--- a/{file}' must stand '+++ b/{file}'")
        before, after = None, None
        for line in lines[2:]:
            if line.startswith(("diff ", "index ")):
                continue
            if line.startswith("@@"):
                self.keep(file, before, after)
                before, after = [], []
                continue
            if before is None:
                raise planted_error(f"{path.name}: '{line}' stands before a line '@@'")
            mark, rest = line[:1] or " ", line[1:]
            if mark not in " +-":
                raise planted_error(f"{path.name}: '{line}' begins with none of ' ', '+', '-'")
            if mark in " -":
                before.append(rest)
            if mark in " +":
                after.append(rest)
        self.keep(file, before, after)

    def keep(self, file, before, after):
        if before is not None:
            self.hunks.append((file, "\n".join(before) + "\n", "\n".join(after) + "\n"))

    def files(self):
        return sorted({file for file, _, _ in self.hunks})

    def plant(self, root):
        """Applies it to the tree in `root`. Throws planted_error when it does not fit."""
        for file, before, after in self.hunks:
            path = root / file
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            looked_for = re.compile("^" + re.escape(before), re.M)
            places = [found.start() for found in looked_for.finditer(text)]
            if before == after:
                raise planted_error(f"{self.name}.patch changes nothing in {file}")
            if len(places) != 1:
                raise planted_error(
                    f"{self.name}.patch does not fit any more: the lines that it looks for are "
                    f"{len(places)} times in {file}. Make the same mistake in today's code, or "
                    f"remove the patch if nobody can make it any more. It looks for:\n{before}")
            text = text[:places[0]] + after + text[places[0] + len(before):]
            path.write_text(text, encoding="utf-8")


class tree:
    """The copy in which a patch is tried."""

    def __init__(self, build, name):
        self.build = build
        self.at = build / "planted" / name
        shutil.rmtree(self.at, ignore_errors=True)
        for folder in COPIED:
            shutil.copytree(ROOT / folder, self.at / folder)
        cache = (build / "CMakeCache.txt").read_text(encoding="utf-8")
        compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.+)$", cache, re.M).group(1)
        self.compiler = [compiler]
        if shutil.which("ccache"):
            self.compiler = ["ccache", compiler]

    def call(self, command, what):
        done = subprocess.run(command, cwd=self.at, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise planted_error(f"{what} failed:\n{' '.join(map(str, command))}\n{done.stdout}")

    def compile(self, files):
        """The objects of `files`, in their order."""
        objects = []
        for file in files:
            if not (self.at / file).is_file():
                raise planted_error(f"there is no file {file}")
            objects.append(self.at / (file.replace("/", "_") + ".o"))
            self.call([*self.compiler, *FLAGS, "-c", file, "-o", objects[-1]], f"compiling {file}")
        return objects

    def link(self, objects):
        program = self.at / "tests_of_it"
        support = sorted(self.build.glob("tests/CMakeFiles/coro_test_support.dir/**/*.o"))
        library = self.build / "src/libcoro.a"
        if not support or not library.is_file():
            raise planted_error(f"{self.build} holds no built library and test support: build "
                                "coro and coro_test_support there first")
        # The first definition wins: that of the files that were compiled here.
        self.call([self.compiler[-1], "-Wl,--allow-multiple-definition", *objects, *support,
                   library, *LIBRARIES, "-o", program], "linking")
        return program


def outcome(program, test, poller):
    """"passed", "failed" or "none" (no test has that name), and what the test wrote."""
    environment = dict(os.environ)
    environment.pop("CORO_POLLER", None)
    if poller:
        environment["CORO_POLLER"] = poller
    try:
        done = subprocess.run([program, f"--gtest_filter={test}"], cwd=program.parent, text=True,
                              env=environment, stdin=subprocess.DEVNULL, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT,
                              check=False)
    except subprocess.TimeoutExpired:
        return "failed", f"it hung for {LIMIT} seconds"
    return judge(done.returncode, done.stdout), done.stdout


def judge(status, output):
    if not re.search(r"^\[ RUN      \] ", output, re.M):
        return "none"
    if status != 0:
        return "failed"
    return "skipped" if re.search(r"^\[  SKIPPED \] ", output, re.M) else "passed"


def demand(one, program, wanted):
    for test in one.head["fails"]:
        got, output = outcome(program, test, "".join(one.head["on"]))
        if got == "skipped" and test in allowed_skips(ROOT):
            raise not_tried(f"{test} is skipped here, which tests/CMakeLists.txt allows")
        if got in ("none", "skipped"):
            raise planted_error(f"no test ran that is called {test}:\n{output}")
        if got != wanted and wanted == "passed":
            raise planted_error(f"{test} fails without the mistake:\n{output}")
        if got != wanted:
            raise planted_error(f"{test} passes though this is broken: {one.head['breaks'][0]}")


def try_patch(build, path):
    one = patch(path)
    copy = tree(build, one.name)
    sources = [file for file in one.files() if file.endswith(".cpp")] + one.head["with"]
    headers = len(one.files()) + len(one.head["with"]) > len(sources)
    tests = copy.compile(one.head["source"])
    demand(one, copy.link(tests + copy.compile(sources)), "passed")
    one.plant(copy.at)
    if headers:
        tests = copy.compile(one.head["source"])
    demand(one, copy.link(tests + copy.compile(sources)), "failed")
    shutil.rmtree(copy.at)


def turn():
    """None: all have their turn."""
    number = os.environ.get("CORO_TEST_TURN", "")
    return None if os.environ.get("CORO_TEST_FULL") or not number else int(number)


def in_turn(paths, now):
    """By the name, so that a new patch does not change the order of the others."""
    def place(path):
        return hashlib.sha256(path.stem.encode()).hexdigest()

    ordered = sorted(paths, key=place)
    if now is None or len(ordered) <= AT_A_TIME:
        return ordered
    return [ordered[(now * AT_A_TIME + i) % len(ordered)] for i in range(AT_A_TIME)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    paths = sorted(HERE.glob("*.patch"))
    if options.names:
        paths = [HERE / (name.removesuffix(".patch") + ".patch") for name in options.names]
    else:
        paths = in_turn(paths, None if options.full else turn())
    lived = left_out = 0
    for path in paths:
        try:
            if not path.is_file():
                raise planted_error(f"there is no {path}")
            try_patch(options.build.resolve(), path)
            print(f"{path.stem}: noticed", flush=True)
        except not_tried as reason:
            print(f"{path.stem}: not tried: {reason}", flush=True)
            left_out += 1
        except planted_error as error:
            lived += 1
            print(f"{path.stem}: NOT NOTICED: {error}", flush=True)
    print(f"{len(paths) - lived - left_out} of {len(paths)} planted mistakes were noticed")
    return 1 if lived or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
