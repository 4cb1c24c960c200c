#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""What the documentation names exists: tests (`suite.name`) and files (`src/x/y.hpp`)."""
import os
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "tools"))
import claims  # noqa: E402

# What is under these can be named; `build/…`, wildcards, <…>, and `…/x_test.cpp`, which stands for
# any name, are not looked up.
FOLDERS = "include|src|tests|examples|docs|perf|scripts|tools|cmake"
FILE = re.compile(rf"(?:{FOLDERS})/(?:[\w.-]+/)*(?!x[._])[\w.-]*")
TEST = re.compile(r"([a-z]\w*)\.(\w+|\*)")


def quoted(text):
    """(line number, words) of each `…` outside of blocks of code."""
    prose = re.sub(
        r"^```.*?^```",
        lambda match: re.sub(r"[^\n]", " ", match.group()),
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    for match in re.finditer(r"`([^`]+)`", prose):
        yield prose.count("\n", 0, match.start()) + 1, match.group(1)


def wrong_names(text, root, tests):
    """(line number, name) of each name that leads nowhere. A `a.b` is taken for a test if a test
    suite is called `a`, or if it looks like one (`…_test.`, `…_death.`, `…_property.`)."""
    suites = {suite for suite, _ in tests}
    for line, name in quoted(text):
        if FILE.fullmatch(name) and not (root / name).exists():
            yield line, name
        match = TEST.fullmatch(name)
        if not match or match.group(2) in ("cpp", "hpp", "md", "py"):
            continue
        suite, test = match.groups()
        if suite in suites:
            if test != "*" and (suite, test) not in tests:
                yield line, name
        elif re.search(r"_(test|death|property)$", suite):
            yield line, name


class names(unittest.TestCase):
    def test_exist(self):
        tests = claims.gtests_below(ROOT)
        pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        self.assertGreater(len(pages), 20)
        wrong = [
            f"{page.relative_to(ROOT)}:{line}: {name}"
            for page in pages
            for line, name in wrong_names(page.read_text(encoding="utf-8"), ROOT, tests)
        ]
        self.assertEqual(wrong, [])

    def test_canary(self):
        text = "`task_test.a` `task_test.b`\n`old_test.c` `x.y` `tools/tidy.py` `tools/gone.py`\n"
        found = list(wrong_names(text, ROOT, {("task_test", "a")}))
        self.assertEqual(found, [(1, "task_test.b"), (2, "old_test.c"), (2, "tools/gone.py")])


if __name__ == "__main__":
    unittest.main()
