#!/usr/bin/env python3
# ctest: timeout=600 label=static
"""The page of mistakes is true: what it says of each wrong program is what happens.

Above each wrong block of docs/guide/mistakes.md stands what becomes of it:

    <!-- refused -->         it does not compile
    <!-- warned -->          the compiler warns, without being asked to
    <!-- aborts -->          it compiles, and ends by abort(3)
    <!-- fails -->           run_main returns 1
    <!-- runs -->            run_main returns 0
    <!-- refused by g++ -->  by that compiler; the other one takes it

The lines of the next ```text block must be part of what the compiler, or the program, says; `…`
stands for anything. A block that runs defines `coro::task<> program()`. Every other block of C++ is
a cure, and compiles without a warning. Both compilers; programs run on io_uring and on epoll.
"""
import copy
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
PAGE = ROOT / "docs/guide/mistakes.md"
COMPILERS = ("g++", "clang++-19")
WORLDS = ("io_uring", "epoll")
FATES = ("refused", "warned", "aborts", "fails", "runs")
STANDARD = "array chrono cstdio functional optional span stdexcept string string_view thread vector"
INCLUDES = "".join(f"#include <{name}>\n" for name in STANDARD.split())
PRELUDE = "#include <coro/coro.hpp>\n" + INCLUDES
FLAGS = ["-std=c++20", "-pthread", f"-I{ROOT}/include"]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
BLOCK = re.compile(r"(?:^<!-- (?P<fate>\w+)(?: by (?P<only>\S+))? -->\n)?"
                   r"^```(?P<language>cpp|text)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LIBRARIES = [str(next((BUILD / "src").glob("libcoro.[as]*"), "libcoro")), "-luring",
             "-lboost_context", f"-Wl,-rpath,{BUILD}/src"]
MAIN = """
int main(int, char** argv) {{
    using main_function = coro::task<> (*)();
    const main_function programs[] = {{{programs}}};
    return coro::run_main(programs[std::stoi(argv[1])]());
}}
"""


class wrong_block:
    def __init__(self, found, line):
        self.fate, self.only, self.code = found["fate"], found["only"], found["code"]
        self.line = line
        self.says = None

    def concerns(self, compiler):
        return self.only is None or compiler.startswith(self.only)

    def expected(self):
        """A regular expression of what is said: white space as it comes, … is anything."""
        lines = [" ".join(line.split()) for line in self.says.splitlines()]
        pieces = [re.escape(piece.strip()) for piece in " ".join(lines).split("…")]
        return ".*".join(pieces)


def read_page(text):
    """(wrong blocks, cures); each has the line at which its code begins."""
    wrong, cures = [], []
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        if found["language"] == "text":
            if wrong and wrong[-1].says is None:
                wrong[-1].says = found["code"]
        elif found["fate"] is None:
            cures.append((line, found["code"]))
        else:
            wrong.append(wrong_block(found, line))
    return wrong, cures


def placed(line, code):
    return f'#line {line} "mistakes.md"\n{code}'


def in_namespace(number, block):
    return (f"namespace mistake_{number} {{\nusing namespace std::chrono_literals;\n"
            f"{placed(block.line, block.code)}}}\n")


class compiler_driver:
    """One compiler, with <coro/coro.hpp> precompiled."""

    def __init__(self, compiler, folder):
        self.compiler = compiler
        self.folder = pathlib.Path(folder, compiler)
        self.folder.mkdir()
        header = self.folder / "prelude.hpp"
        header.write_text(PRELUDE)
        out = self.folder / ("prelude.hpp.pch" if "clang" in compiler else "prelude.hpp.gch")
        subprocess.run([compiler, *FLAGS, "-x", "c++-header", str(header), "-o", str(out)],
                       check=True)
        # g++ takes what stands behind a #line for a header, and lambdas there for a mistake.
        self.quiet = [] if "clang" in compiler else ["-Wno-subobject-linkage"]
        self.use = (["-include-pch", str(out)] if "clang" in compiler else
                    ["-Winvalid-pch", "-include", str(header)])

    def compile(self, code, *flags, libraries=()):
        command = [self.compiler, *FLAGS, *self.use, *flags, "-x", "c++", "-"]
        if libraries:
            command += ["-x", "none", *libraries]
        run = subprocess.run(command, input=code, capture_output=True, text=True,
                             errors="replace", check=False)
        return run.returncode, run.stderr


def normal(text):
    return " ".join(text.split())


class mistakes(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.wrong, cls.cures = read_page(PAGE.read_text(encoding="utf-8"))
        cls.made = [compiler_driver(each, cls.folder.name) for each in COMPILERS]

    def setUp(self):
        self.drivers = [copy.copy(each) for each in self.made]

    def assert_says(self, block, said, where):
        self.assertIsNotNone(block.says, f"{PAGE.name}:{block.line} shows no text of what is said")
        self.assertRegex(normal(said), block.expected(),
                         f"{PAGE.name}:{block.line}, {where}")

    def test_the_page_has_every_kind(self):
        for block in self.wrong:
            self.assertIn(block.fate, FATES, f"{PAGE.name}:{block.line}")
        self.assertEqual({block.fate for block in self.wrong}, set(FATES))
        self.assertGreater(len(self.wrong), 15)

    def test_what_the_compilers_refuse_or_warn_of(self):
        cases = [(driver, number, block) for driver in self.drivers
                 for number, block in enumerate(self.wrong)
                 if block.fate in ("refused", "warned") and block.concerns(driver.compiler)]

        def compiled(case):
            driver, number, block = case
            return driver.compile(in_namespace(number, block), "-fsyntax-only")

        with ThreadPoolExecutor(2) as pool:
            for (driver, _, block), (status, said) in zip(cases, pool.map(compiled, cases)):
                with self.subTest(line=block.line, compiler=driver.compiler):
                    self.assertEqual(status != 0, block.fate == "refused", said)
                    self.assert_says(block, said, driver.compiler)

    def test_what_one_compiler_refuses_the_other_takes(self):
        for number, block in enumerate(self.wrong):
            for driver in self.drivers:
                if not block.concerns(driver.compiler):
                    status, said = driver.compile(in_namespace(number, block), "-fsyntax-only")
                    self.assertEqual(status, 0, said)

    def test_what_programs_do(self):
        running = [block for block in self.wrong if block.fate in ("aborts", "fails", "runs")]
        code = "".join(in_namespace(number, block) for number, block in enumerate(running))
        names = ", ".join(f"&mistake_{number}::program" for number in range(len(running)))
        for driver in self.drivers:
            program = driver.folder / "program"
            status, said = driver.compile(code + MAIN.format(programs=names), *driver.quiet, "-o",
                                          str(program), libraries=LIBRARIES)
            self.assertEqual(status, 0, said)
            for world in WORLDS:
                for number, block in enumerate(running):
                    with self.subTest(line=block.line, compiler=driver.compiler, world=world):
                        self.run_one(program, number, block, world)

    def run_one(self, program, number, block, world):
        run = subprocess.run([program, str(number)], capture_output=True, text=True, timeout=300,
                             env=os.environ | {"CORO_POLLER": world}, check=False)
        said = run.stdout + run.stderr
        wanted = {"aborts": -6, "fails": 1, "runs": 0}[block.fate]
        self.assertEqual(run.returncode, wanted, said)
        self.assert_says(block, said, world)

    def test_every_cure_compiles(self):
        code = "".join(f"namespace cure_{line} {{\nusing namespace std::chrono_literals;\n"
                       f"{placed(line, cure)}}}\n" for line, cure in self.cures)
        for driver in self.drivers:
            driver.use = []  # what is precompiled was so without these flags
            status, said = driver.compile(PRELUDE + code, *STRICT, *driver.quiet, "-fsyntax-only")
            self.assertEqual(status, 0, said)

    def test_canary_what_is_not_said_is_seen(self):
        page = ("<!-- refused -->\n```cpp\nint zero = nullptr;\n```\n\n"
                "```text\nno compiler … says this\n```\n")
        (block,), _ = read_page(page)
        status, said = self.drivers[0].compile(in_namespace(0, block), "-fsyntax-only")
        self.assertNotEqual(status, 0)
        with self.assertRaises(AssertionError):
            self.assert_says(block, said, "g++")


if __name__ == "__main__":
    unittest.main()
