#!/usr/bin/env python3
# ctest: timeout=120 label=static
"""The must-not-compile driver can fail: planted trees in which exactly one thing is wrong."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
HEADER = "// A header.\n#pragma once\n\nnamespace coro { int one(); }\n"


def drive(files, compiler, *arguments):
    """Runs the driver on a tree of these files; (its status, its output)."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {"include/coro/coro.hpp": HEADER, **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        (root / "src").mkdir(exist_ok=True)
        run = subprocess.run(
            [
                sys.executable,
                ROOT / "tests/compile/run.py",
                "--compiler",
                compiler,
                "--root",
                folder,
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return run.returncode, run.stdout + run.stderr


class driver(unittest.TestCase):
    def both(self, files, status, text=""):
        for compiler in ("g++", "clang++-19"):
            with self.subTest(compiler=compiler):
                got, output = drive(files, compiler)
                self.assertEqual(got, status, output)
                self.assertIn(text, output)

    def test_accepts_a_good_tree(self):
        good = "#include <coro/coro.hpp>\nint two() { return coro::one(); }\n"
        bad = '// expect: one sentence\nstatic_assert(false, "one sentence");\n'
        self.both({"tests/compile/a.pass.cpp": good, "tests/compile/b.fail.cpp": bad}, 0)

    def test_canary_a_fail_file_that_compiles(self):
        self.both(
            {"tests/compile/a.fail.cpp": "// expect: anything\nint fine;\n"},
            1,
            "must not compile, and does",
        )

    def test_a_fail_file_that_fails_for_another_reason(self):
        self.both(
            {"tests/compile/a.fail.cpp": "// expect: the sentence\nint broken(;\n"},
            1,
            "do not contain",
        )

    def test_a_fail_file_without_expectation(self):
        self.both({"tests/compile/a.fail.cpp": "int broken(;\n"}, 1, "first line must be")

    def test_a_pass_file_that_does_not_compile(self):
        self.both({"tests/compile/a.pass.cpp": "int broken(;\n"}, 1, "must compile")

    def test_a_name_of_neither_kind(self):
        self.both({"tests/compile/a.cpp": "int fine;\n"}, 1, "must end in")

    def test_a_header_that_needs_another(self):
        self.both(
            {"include/coro/needy.hpp": "#pragma once\ninline std::string text();\n"},
            1,
            "does not compile alone",
        )

    def test_a_header_without_guard(self):
        self.both({"include/coro/twice.hpp": "struct twice {};\n"}, 1, "does not compile alone")

    def test_precompiled_cases_judge_alike(self):
        include = "#include <coro/coro.hpp>\n"
        files = {
            f"tests/compile/{n}.pass.cpp": f"{include}int two{n}() {{ return coro::one(); }}\n"
            for n in range(4)
        }
        self.both(files, 0)
        files[
            "tests/compile/bad.fail.cpp"
        ] = f"// expect: anything\n{include}int fine() {{ return coro::one(); }}\n"
        self.both(files, 1, "must not compile, and does")

    def test_only_one_compiler(self):
        files = {"tests/compile/a.fail.cpp": "// expect: the sentence [clang only]\nint fine;\n"}
        self.assertEqual(drive(files, "g++")[0], 0)
        self.assertEqual(drive(files, "clang++-19")[0], 1)

    def test_a_mistake_that_is_let_through_among_others(self):
        wrong = 'static_assert(sizeof(int) == 1, "the sentence");\n'
        files = {"tests/compile/a.fail.cpp": "// expect: error: .*sentence [3 times]\n" + 3 * wrong}
        self.both(files, 0)
        files["tests/compile/a.fail.cpp"] = "// expect: error: .*sentence [3 times]\n" + 2 * wrong
        self.both(files, 1, "contain it 2 times")

    def test_the_files_and_the_headers_apart(self):
        files = {
            "include/coro/twice.hpp": "struct twice {};\n",
            "tests/compile/good.pass.cpp": "int fine;\n",
        }
        self.assertEqual(drive(files, "g++", "--only", "cases")[0], 0)
        status, output = drive(files, "g++", "--only", "headers")
        self.assertEqual(status, 1)
        self.assertIn("include/coro/twice.hpp: does not compile alone", output)
        self.assertNotIn("good.pass.cpp", output)
        files["tests/compile/bad.pass.cpp"] = "int bad(;\n"
        status, output = drive(files, "g++", "--only", "cases")
        self.assertEqual(status, 1)
        self.assertIn("bad.pass.cpp: must compile", output)

    def test_an_empty_run(self):
        status, output = drive({}, "g++", "no-such-case")
        self.assertEqual(status, 1)
        self.assertIn("no case was found", output)


if __name__ == "__main__":
    unittest.main()
