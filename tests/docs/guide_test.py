#!/usr/bin/env python3
# ctest: timeout=180
"""The C++ on the pages of the guide compiles: those pages that say that it does.

All blocks of a page are one piece of code, in a namespace of the page's own; all pages are one
file, so that the headers are compiled once.
"""
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
CXX = os.environ.get("CXX", "g++")
PROMISE = "The tests compile every block of code on this page (`tests/docs/guide_test.py`)."
STANDARD = (
    "algorithm array cctype chrono csignal cstddef cstdint cstdio functional map mutex optional "
    "span stdexcept string string_view tuple utility vector"
).split()
PROMISING = {
    "tasks", "cancellation", "errors", "servers", "running", "streams", "synchronisation",
    "fibers", "loops", "signals", "compilers", "pool"
}  # at least


def code_of(page):
    """The blocks of a page, each behind a line that points a diagnostic to it."""
    text = page.read_text(encoding="utf-8")
    out = []
    for block in re.finditer(r"^```cpp\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, block.start(1)) + 1
        out.append(f'#line {line} "{page.relative_to(ROOT)}"\n{block.group(1)}')
    return "".join(out)


def everything(pages):
    headers = sorted(
        path.relative_to(ROOT / "include").as_posix() for path in ROOT.glob("include/coro/*/*.hpp")
    )
    includes = "".join(f"#include <{header}>\n" for header in headers + STANDARD)
    bodies = "".join(
        f"namespace page_{page.stem} {{\nusing namespace std::chrono_literals;\n{code_of(page)}}}\n"
        for page in pages
    )
    return includes + bodies


def compiles(text):
    flags = ["-Wall", "-Wextra", "-Werror"]
    if "clang" not in CXX:
        # g++ takes what stands behind a #line for a header, and lambdas there for a mistake.
        flags.append("-Wno-subobject-linkage")
    run = subprocess.run(
        [CXX, "-std=c++20", "-fsyntax-only", *flags, f"-I{ROOT}/include", "-x", "c++", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode == 0, run.stderr


class guide(unittest.TestCase):
    def pages(self):
        found = sorted((ROOT / "docs/guide").glob("*.md"))
        return [page for page in found if PROMISE in page.read_text(encoding="utf-8")]

    def test_pages_make_their_promise(self):
        self.assertLessEqual(PROMISING, {page.stem for page in self.pages()})
        for page in self.pages():
            self.assertTrue(code_of(page), f"{page.name} promises and has no code")

    def test_every_block_compiles(self):
        fine, diagnostics = compiles(everything(self.pages()))
        self.assertTrue(fine, diagnostics)

    def test_a_wrong_block_would_be_seen(self):
        wrong = "coro::task<> f() { co_await coro::no_such_thing(); }\n"
        fine, diagnostics = compiles("#include <coro/core/task.hpp>\n" + wrong)
        self.assertFalse(fine)
        self.assertIn("no_such_thing", diagnostics)


if __name__ == "__main__":
    unittest.main()
