#!/usr/bin/env python3
"""What must compile, what must not, and each header alone; with one compiler.

*.pass.cpp must compile without a warning. *.fail.cpp must not compile, and the diagnostics must
contain the regular expression of its first line:

    // expect: REGEX
    // expect: REGEX [g++ only]         or [clang only]: the other compiler leaves the file out
    // expect: REGEX [9 times]          exactly so often: a file of nine mistakes, none let through

A line `// flags: -fno-exceptions …` right below it, or as the first line of a *.pass.cpp, adds
flags of the compiler.

Each header below include/ and src/ must compile as the only include of a file, twice in a row;
those of include/ without any of the warnings that users switch on.

    run.py --compiler g++|clang++-19 [--only cases|headers] [--root TREE] [--cache FILE] [--jobs N]
           [NAME...]

NAME limits the run to cases whose path contains it; --only to the files of tests/compile, or to the
headers. --cache remembers what passed, and forgets it
when any header, the case or the compiler changes.
"""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

EXPECT = re.compile(
    r"^// expect: (?P<regex>.+?)(?: +\[(?P<times>\d+) times\])?"
    r"(?: +\[(?P<only>g\+\+|clang) only\])?$"
)
ADDED = re.compile(r"\A(?:// expect: .*\n)?// flags: (?P<flags>.+)\n")
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pthread"]
# What users switch on: no header of ours may give one of these warnings.
STRICT = ["-Wpedantic", "-Wshadow", "-Wconversion", "-Wnon-virtual-dtor", "-Wold-style-cast"]
UMBRELLA = "coro/coro.hpp"


class harness:
    def __init__(self, compiler, root):
        self.compiler = compiler
        self.family = "clang" if "clang" in compiler else "g++"
        self.root = root
        self.include = root / "include"
        self.source = root / "src"
        self.precompiled = []

    def compile(self, text, extra=()):
        """(whether it compiled, the diagnostics) of this text."""
        limit = ["-ferror-limit=0"] if self.family == "clang" else []
        command = [self.compiler, *FLAGS, *limit, *extra, f"-I{self.include}", "-x", "c++", "-"]
        run = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", check=False
        )
        return run.returncode == 0, run.stderr

    def precompile(self, folder):
        """Precompiles <coro/coro.hpp>, which most cases include and which is nearly all of their
        time."""
        if not (self.include / UMBRELLA).exists():
            return
        folder = pathlib.Path(folder)
        if self.family == "clang":
            out = folder / "coro.pch"
            use = ["-include-pch", str(out)]
        else:
            out = folder / (UMBRELLA + ".gch")
            out.parent.mkdir(parents=True)
            use = [f"-I{folder}", "-Winvalid-pch"]
        flags = [flag for flag in FLAGS if flag != "-fsyntax-only"]
        command = [
            self.compiler,
            *flags,
            f"-I{self.include}",
            "-x",
            "c++-header",
            str(self.include / UMBRELLA),
            "-o",
            str(out),
        ]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            self.precompiled = use

    def extra_for(self, text):
        """The flags of the file; or a precompiled header, which serves only with the flags that it
        was made with, and where it is the first thing that is included."""
        if added := ADDED.match(text):
            return added["flags"].split()
        directive = re.search(r"^\s*#.*$", text, re.MULTILINE)
        if directive and re.fullmatch(r"\s*#\s*include\s*<coro/coro\.hpp>\s*", directive.group()):
            return self.precompiled
        return []

    # Each of these answers None when all is well, otherwise what is wrong.

    def must_compile(self, path):
        text = path.read_text(encoding="utf-8")
        compiled, diagnostics = self.compile(text, self.extra_for(text))
        return None if compiled else "must compile, and does not:\n" + diagnostics

    def must_fail(self, path):
        text = path.read_text(encoding="utf-8")
        expect = EXPECT.match(text.split("\n", 1)[0].rstrip())
        if not expect:
            return "the first line must be: // expect: REGEX"
        if expect["only"] not in (None, self.family):
            return None
        compiled, diagnostics = self.compile(text, self.extra_for(text))
        if compiled:
            return "must not compile, and does"
        if not re.search(expect["regex"], diagnostics):
            wanted = expect["regex"]
            return f"the diagnostics do not contain /{wanted}/:\n{diagnostics}"
        found = sum(1 for _ in re.finditer(expect["regex"], diagnostics))
        if expect["times"] and found != int(expect["times"]):
            return f"the diagnostics contain it {found} times:\n{diagnostics}"
        return None

    def alone(self, path):
        if path.is_relative_to(self.include):
            line = f"#include <{path.relative_to(self.include).as_posix()}>\n"
            extra = STRICT
        else:
            line = f'#include "{path.relative_to(self.source).as_posix()}"\n'
            extra = [f"-I{self.source}"]
        compiled, diagnostics = self.compile(line * 2, extra)
        return None if compiled else "does not compile alone:\n" + diagnostics

    def cases(self, only=None):
        if only != "headers":
            yield from self.files()
        if only != "cases":
            for folder in (self.include, self.source):
                for path in sorted(folder.rglob("*.hpp")):
                    yield path, self.alone

    def files(self):
        folder = self.root / "tests" / "compile"
        for path in sorted(folder.rglob("*.cpp")):
            if path.name.endswith(".pass.cpp"):
                yield path, self.must_compile
            elif path.name.endswith(".fail.cpp"):
                yield path, self.must_fail
            else:
                yield path, lambda _: "the name must end in .pass.cpp or .fail.cpp"

    def fingerprint(self):
        """Changes when anything changes that every case may depend on."""
        digest = hashlib.sha256()
        version = subprocess.run([self.compiler, "--version"], capture_output=True, check=True)
        digest.update(version.stdout)
        digest.update(pathlib.Path(__file__).read_bytes())
        for folder in (self.include, self.source):
            for path in sorted(folder.rglob("*.hpp")):
                digest.update(str(path.relative_to(self.root)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()


def read_cache(path, fingerprint):
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        return set()
    return set(stored.get("passed", [])) if stored.get("fingerprint") == fingerprint else set()


def key_of(path, root):
    return str(path.relative_to(root)) + " " + hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--only", choices=("cases", "headers"))
    parser.add_argument(
        "--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2]
    )
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if not shutil.which(options.compiler):
        print(f"{options.compiler} is not installed; scripts/test installs it")
        return 1

    run = harness(options.compiler, options.root.resolve())
    cases = [
        (path, check)
        for path, check in run.cases(options.only)
        if not options.names or any(name in str(path) for name in options.names)
    ]
    fingerprint = run.fingerprint()
    passed = read_cache(options.cache, fingerprint)
    todo = [(path, check) for path, check in cases if key_of(path, run.root) not in passed]

    failures = 0
    threads = concurrent.futures.ThreadPoolExecutor(options.jobs)
    with tempfile.TemporaryDirectory() as folder, threads as pool:
        if sum(path.parent.name == "compile" for path, _ in todo) > 3:
            run.precompile(folder)
        for (path, _), wrong in zip(todo, pool.map(lambda case: case[1](case[0]), todo)):
            if wrong is None:
                passed.add(key_of(path, run.root))
            else:
                failures += 1
                print(f"{path.relative_to(run.root)}: {wrong}")

    if options.cache:
        options.cache.parent.mkdir(parents=True, exist_ok=True)
        options.cache.write_text(
            json.dumps({"fingerprint": fingerprint, "passed": sorted(passed)}), encoding="utf-8"
        )
    known = len(cases) - len(todo)
    print(f"{options.compiler}: {len(cases)} cases, {known} passed before, {failures} failed")
    if not cases:
        print("no case was found")
    return 1 if failures or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
