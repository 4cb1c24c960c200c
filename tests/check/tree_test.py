#!/usr/bin/env python3
# ctest: timeout=600 label=static
"""coro-check finds nothing in what we show and test: examples, what scripts/coro_new writes, perf,
tests, and the documentation.

Documentation and examples are looked at in every run; of the other sources one part of six. The
id of the commit says whose turn it is, as in scripts/test. CORO_TEST_TURN names another, and
CORO_TEST_FULL=1 is all of them, as is a tree without history. What was clean is remembered in the
build tree, and forgotten when a header or the check changes.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tools", "tests/docs", "tests/tools")]
import coro_check  # noqa: E402
import guide_test  # noqa: E402
import mistakes_test  # noqa: E402
import pages  # noqa: E402
import sources as test_sources  # noqa: E402

CLANG = "clang++-19"
FLAGS = ["-std=c++20", *(f"-I{ROOT / folder}" for folder in ("include", "src", "tests", "perf")),
         "-I/usr/include/postgresql"]
COMMON = "#include <coro/coro.hpp>\n#include <gmock/gmock.h>\n#include <gtest/gtest.h>\n"
CACHE = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build")) / "compile-cache/check.json"
PLANTED = re.compile(r"tests/check/|\.fail\.cpp$|tests/unit/core/compiler_probe_test\.cpp$")


# What two examples include, and not every machine has.
CLIENTS = {"redis_pool": "/usr/include/hiredis/hiredis.h",
           "postgres_pool": "/usr/include/postgresql/libpq-fe.h"}
PARTS = 6
ENOUGH = 30_000  # bytes of tests in one text: clang's dump has 2700 times as many
INCLUDE = re.compile(r'#include (?:<(?P<system>[^>]+)>|"(?P<own>[^"]+)")')


def sources(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.cpp")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            if "co_await" in text and not PLANTED.search(name):
                yield name, text


def examples():
    for name, text in sources("examples"):
        header = CLIENTS.get(pathlib.PurePath(name).stem)
        if header is None or pathlib.Path(header).exists():
            yield name, text
        else:
            print(f"{name} is not looked at, because there is no {header}")


def programs_of_the_pages():
    for page in ("README.md", "docs/tutorial.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for number, block in enumerate(pages.blocks(text, "cpp"), 1):
            if "co_await" in block and "#include" in block:
                yield f"{page}, block {number}", block


def program_of_coro_new():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "scripts/coro_new", "made"], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL)
        return "scripts/coro_new", (pathlib.Path(folder) / "made/main.cpp").read_text("utf-8")


def headers_of_the_tutorial():
    """{name: text}: its programs share headers, which their first line names."""
    blocks = pages.blocks((ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), "cpp")
    names = [(re.match(r"// (\w+\.hpp)\b", block), block) for block in blocks]
    return {name[1]: block for name, block in names if name}


def cures_of_mistakes():
    _, cures = mistakes_test.read_page(mistakes_test.PAGE.read_text(encoding="utf-8"))
    return mistakes_test.PRELUDE + "".join(
        f"namespace cure_{line} {{\nusing namespace std::chrono_literals;\n"
        f"{mistakes_test.placed(line, cure)}}}\n" for line, cure in cures)


def joined(programs, headers):
    """Programs as one text, each in a namespace of its own, with those of the headers that it
    includes: most of the time of a small program goes into what it includes beside them."""
    system = []

    def inline(name, text, seen):
        yield f'#line 1 "{name}"'
        for number, line in enumerate(text.split("\n"), 1):
            found = INCLUDE.match(line)
            if found and found["system"]:
                system.append(line)
                yield ""
            elif found and found["own"] in seen:
                yield ""
            elif found and found["own"] in headers:
                seen.add(found["own"])
                yield from inline(found["own"], headers[found["own"]], seen)
                yield f'#line {number + 1} "{name}"'
            else:
                yield line

    lines = []
    for number, (name, text) in enumerate(programs):
        lines += [f"namespace program_{number} {{", *inline(name, text, set()), "}"]
    return "\n".join([*dict.fromkeys(system), *lines])


def united(cases):
    """(name, text, cases in it): tests that tests/tools/sources.py can unite are so, for the same
    reason."""
    groups = []  # [(stems, texts, cases)]: the namespaces are called after the stems
    for name, text in cases:
        wrapped = test_sources.wrapped(ROOT / name) if name.endswith("_test.cpp") else None
        if wrapped is None:
            yield name, text, []
            continue
        stem = pathlib.PurePath(name).stem
        for stems, texts, within in groups:
            if stem not in stems and sum(map(len, texts)) < ENOUGH:
                break
        else:
            stems, texts, within = set(), [], []
            groups.append((stems, texts, within))
        stems.add(stem)
        texts.append(wrapped)
        within.append((name, text))
    for number, (_, texts, within) in enumerate(groups, 1):
        yield f"tests/united_{number}", "".join(texts), within


def shown():
    """[(name, text, cases in it)]: what is looked at in every run."""
    headers = {path.name: path.read_text(encoding="utf-8")
               for path in sorted((ROOT / "examples").glob("*.hpp"))}
    programs = [*programs_of_the_pages(), program_of_coro_new()]
    return [("docs/guide", guide_test.everything(guide_test.guide().pages()), []),
            ("docs/guide/mistakes.md", cures_of_mistakes(), []),
            ("README.md, docs/tutorial.md and scripts/coro_new",
             joined(programs, headers_of_the_tutorial()), []),
            ("examples", joined(examples(), headers), list(examples()))]


def turn():
    """Whose turn it is, or None when it is everybody's."""
    if os.environ.get("CORO_TEST_FULL"):
        return None
    if number := os.environ.get("CORO_TEST_TURN"):
        return int(number)

    run = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], cwd=ROOT,
                         capture_output=True, text=True, check=False)
    return int(run.stdout[:7], 16) if run.returncode == 0 else None


def in_turn(cases, now):
    """By the name, so that a new file does not change the turn of the others."""
    def part(name):
        return int(hashlib.sha256(name.encode()).hexdigest(), 16) % PARTS

    return [case for case in cases if now is None or part(case[0]) == now % PARTS]


def fingerprint():
    digest = hashlib.sha256((ROOT / "tools/coro_check.py").read_bytes() + HERE.joinpath(
        "tree_test.py").read_bytes())
    for folder in ("include", "src", "tests", "examples", "perf"):
        for path in sorted((ROOT / folder).rglob("*.hpp")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class tree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.pch = os.path.join(cls.folder.name, "common.pch")
        subprocess.run([CLANG, *FLAGS, "-w", "-x", "c++-header", "-", "-o", cls.pch],
                       input=COMMON, text=True, check=True)  # fmt: skip

    def found_in(self, name, text):
        """The findings, of the text as if it stood there."""
        path = pathlib.Path(self.folder.name) / (hashlib.sha256(name.encode()).hexdigest() + ".cpp")
        path.write_text(f'#line 1 "{name}"\n' + text, encoding="utf-8")
        flags = [*FLAGS, f"-I{(ROOT / name).parent}", "-include-pch", self.pch]
        dump = coro_check.dump_of(CLANG, path, flags, ROOT)
        return [each for each in coro_check.findings(dump) if not each[0].startswith("/usr/")]

    def found_in_all(self, name, text, within):
        """The findings; what cannot be compiled as one is looked at one by one."""
        try:
            return self.found_in(name, text)
        except coro_check.cannot:
            if not within:
                raise
        return [found for each in within for found in self.found_in(*each)]

    def test_nothing_is_found_in_our_own_code(self):
        now = fingerprint()
        stored = {}
        if CACHE.exists():
            stored = json.loads(CACHE.read_text(encoding="utf-8"))
        clean = set(stored.get("clean", [])) if stored.get("fingerprint") == now else set()
        others, now_is = [*sources("perf", "tests", "src")], turn()
        self.assertGreater(len(others), 50)
        chosen = in_turn(others, now_is)
        print(f"turn {now_is}: {len(chosen)} of {len(others)} other sources")
        cases = [*shown(), *united(chosen)]
        keys = [name + hashlib.sha256(text.encode()).hexdigest() for name, text, _ in cases]
        todo = [(key, case) for key, case in zip(keys, cases) if key not in clean]

        def look(one):
            return self.found_in_all(*one[1])

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (key, case), found in zip(todo, pool.map(look, todo)):
                with self.subTest(name=case[0]):
                    self.assertEqual(found, [])
                    clean.add(key)
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        CACHE.write_text(json.dumps({"fingerprint": now, "clean": sorted(clean)}), encoding="utf-8")

    def test_a_wrong_block_would_be_seen(self):
        wrong = ("#include <coro/core/task.hpp>\n"
                 "coro::task<bool> g();\n"
                 "coro::task<int> f() { if (co_await g()) co_return 1; co_return 2; }\n")
        self.assertEqual(self.found_in("docs/wrong.md", wrong),
                         [("docs/wrong.md", 3, 23, "condition")])
        user = '#include "wrong.hpp"\n#include <chrono>\n' + wrong.replace(" f()", " h()")
        whole = joined([("one.md", user), ("two.md", user)], {"wrong.hpp": wrong})
        self.assertEqual(set(self.found_in("docs/many.md", whole)),
                         {("wrong.hpp", 3, 23, "condition"), ("one.md", 5, 23, "condition"),
                          ("two.md", 5, 23, "condition")})
        self.assertEqual(self.found_in_all("docs/twice.md", wrong + wrong,
                                           [("docs/wrong.md", wrong)]),
                         [("docs/wrong.md", 3, 23, "condition")])


class turns(unittest.TestCase):
    def test_six_turns_that_follow_each_other_are_all(self):
        cases = [*sources("perf", "tests", "src")]
        for first in (0, 1, 347):
            seen = [in_turn(cases, first + number) for number in range(PARTS)]
            self.assertEqual(sorted(case for part in seen for case in part), sorted(cases))
            self.assertTrue(all(seen))
        self.assertEqual(in_turn(cases, None), cases)

    def test_who_says_whose_turn_it_is(self):
        with unittest.mock.patch.dict(os.environ, CORO_TEST_TURN="17"):
            os.environ.pop("CORO_TEST_FULL", None)
            self.assertEqual(turn(), 17)
            os.environ["CORO_TEST_FULL"] = "1"
            self.assertIsNone(turn())


if __name__ == "__main__":
    unittest.main()
