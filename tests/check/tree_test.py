#!/usr/bin/env python3
# ctest: timeout=600 label=static
"""coro-check finds nothing in what we show and test: examples, perf, tests, and the documentation.

What was clean is remembered in the build tree, and forgotten when a header or the check changes.
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

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/docs")]
import coro_check  # noqa: E402
import guide_test  # noqa: E402
import pages  # noqa: E402

CLANG = "clang++-19"
FLAGS = ["-std=c++20", *(f"-I{ROOT / folder}" for folder in ("include", "src", "tests", "perf"))]
COMMON = "#include <coro/coro.hpp>\n#include <gmock/gmock.h>\n#include <gtest/gtest.h>\n"
CACHE = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build")) / "compile-cache/check.json"
PLANTED = re.compile(r"tests/check/|\.fail\.cpp$|tests/unit/core/compiler_probe_test\.cpp$")


def sources():
    for folder in ("examples", "perf", "tests", "src"):
        for path in sorted((ROOT / folder).rglob("*.cpp")):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            if "co_await" in text and not PLANTED.search(name):
                yield name, text


def documentation():
    yield "docs/guide", guide_test.everything(guide_test.guide().pages())
    for page in ("README.md", "docs/tutorial.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for number, block in enumerate(pages.blocks(text, "cpp"), 1):
            if "co_await" in block and "#include" in block:
                yield f"{page}, block {number}", block


def headers_of_the_tutorial():
    """(name, text): its programs share headers, which their first line names."""
    for block in pages.blocks((ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), "cpp"):
        if name := re.match(r"// (\w+\.hpp)\b", block):
            yield name[1], block


def fingerprint():
    digest = hashlib.sha256((ROOT / "tools/coro_check.py").read_bytes() + HERE.joinpath(
        "tree_test.py").read_bytes())
    for folder in ("include", "src", "tests", "examples", "perf"):
        for path in sorted((ROOT / folder).rglob("*.hpp")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name, block in headers_of_the_tutorial():
            (pathlib.Path(self.folder.name) / name).write_text(block, encoding="utf-8")
        self.pch = os.path.join(self.folder.name, "common.pch")
        subprocess.run([CLANG, *FLAGS, "-w", "-x", "c++-header", "-", "-o", self.pch],
                       input=COMMON, text=True, check=True)  # fmt: skip

    def found_in(self, name, text):
        """The findings, of the text as if it stood there."""
        path = pathlib.Path(self.folder.name) / (hashlib.sha256(name.encode()).hexdigest() + ".cpp")
        path.write_text(f'#line 1 "{name}"\n' + text, encoding="utf-8")
        folders = (f"-I{folder}" for folder in ((ROOT / name).parent, self.folder.name))
        flags = [*FLAGS, *folders, "-include-pch", self.pch]
        dump = coro_check.dump_of(CLANG, path, flags, ROOT)
        return [each for each in coro_check.findings(dump) if not each[0].startswith("/usr/")]

    def test_nothing_is_found_in_our_own_code(self):
        now = fingerprint()
        stored = {}
        if CACHE.exists():
            stored = json.loads(CACHE.read_text(encoding="utf-8"))
        clean = set(stored.get("clean", [])) if stored.get("fingerprint") == now else set()
        cases = [*sources(), *documentation()]
        self.assertGreater(len(cases), 50)
        keys = [name + hashlib.sha256(text.encode()).hexdigest() for name, text in cases]
        todo = [(key, case) for key, case in zip(keys, cases) if key not in clean]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (key, case), found in zip(todo, pool.map(lambda one: self.found_in(*one[1]), todo)):
                with self.subTest(name=case[0]):
                    self.assertEqual(found, [])
                    clean.add(key)
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        CACHE.write_text(json.dumps({"fingerprint": now, "clean": sorted(clean)}), encoding="utf-8")

    def test_a_wrong_block_would_be_seen(self):
        wrong = ("coro::task<bool> g();\n"
                 "coro::task<int> f() { if (co_await g()) co_return 1; co_return 2; }\n")
        self.assertEqual(self.found_in("docs/wrong.md", wrong),
                         [("docs/wrong.md", 2, 23, "condition")])


if __name__ == "__main__":
    unittest.main()
