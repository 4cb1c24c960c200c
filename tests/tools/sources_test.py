#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""Test files are compiled together without a clash, and what has threads is found by a rule."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
TESTS = ROOT / "tests"
PROGRAMS = ("unit", "conformance", "regression", "stress")
ALONE = """#include <cstdio>
namespace a {
namespace {

int twice(int number) { return 2 * number; }
struct report {
    report() { std::printf("%s:%d %d\\n", __FILE__, __LINE__, twice(NUMBER)); }
} said;

}  // namespace
}  // namespace a
"""
# What starts a thread or a process, or is itself called by another thread.
STARTS = re.compile(
    r"^(?!\s*//).*(\bstd::(j?thread|async)|\bpthread_create|\b(fork|blocking|loops)\()", re.M)


def sources(*arguments):
    command = [sys.executable, TESTS / "tools/sources.py", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [pathlib.Path(name) for name in run.stdout.split(";") if name]


def files_of_the_programs():
    return [path for name in PROGRAMS for path in sorted((TESTS / name).rglob("*.cpp"))]


class united(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = pathlib.Path(folder.name).resolve()

    def plant(self, name, text):
        path = self.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def test_files_with_the_same_names_are_one_program_that_knows_their_lines(self):
        files = [self.plant(f"x/{name}_test.cpp", ALONE.replace("NUMBER", number))
                 for name, number in (("one", "1"), ("two", "2"))]
        main = self.plant("x/main.cpp", "int main() {}\n")
        made = sources("--unite", self.place / "out", main, *files)
        self.assertEqual(made, [main, self.place / "out/x_1.cpp"])
        subprocess.run(["g++", "-Wall", "-Werror", *made, "-o", self.place / "program"], check=True)
        printed = subprocess.check_output([self.place / "program"], text=True)
        self.assertEqual(printed, f"{files[0]}:7 2\n{files[1]}:7 4\n")

    def test_a_file_that_says_so_stays_alone(self):
        one = self.plant("x/a_test.cpp", "// What it is.\n// compiled alone\n" + ALONE)
        self.assertEqual(sources("--unite", self.place / "out", one), [one])

    def test_an_unused_function_is_still_found(self):
        bad = ALONE.replace("NUMBER", "1").replace("twice(1)", "1")
        made = sources("--unite", self.place / "out", self.plant("x/bad_test.cpp", bad))
        run = subprocess.run(["g++", "-Wall", "-Werror", "-c", *made, "-o", self.place / "bad.o"],
                             capture_output=True, text=True, check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("bad_test.cpp:5", run.stderr)
        self.assertIn("unused", run.stderr)

    def test_what_follows_the_unnamed_namespace_may_use_it(self):
        after = "}  // namespace\nint four() { return twice(2); }\n"
        one = ALONE.replace("NUMBER", "1")
        files = [self.plant("x/a_test.cpp", one.replace("}  // namespace\n", after)),
                 self.plant("x/b_test.cpp", one)]
        made = sources("--unite", self.place / "out", *files)
        self.assertEqual(made, [self.place / "out/x_1.cpp"])
        subprocess.run(["g++", "-Wall", "-Werror", "-fsyntax-only", *made], check=True)

    def test_a_file_that_others_would_suffer_from_stays_alone(self):
        for more in ("#define ONE 1\n", "namespace {\n}  // namespace\n"):
            path = self.plant("x/more_test.cpp", ALONE + more)
            self.assertEqual(sources("--unite", self.place / "out", path), [path])

    def test_a_header_beside_the_file_is_found(self):
        self.plant("x/beside.hpp", "#pragma once\n#define NUMBER 21\n")
        path = self.plant("x/a_test.cpp", '#include "beside.hpp"\n' + ALONE)
        made = sources("--unite", self.place / "out", path)
        self.assertEqual(made, [self.place / "out/x_1.cpp"])
        subprocess.run(["g++", "-fsyntax-only", *made], check=True)

    def test_what_is_the_same_is_not_written_again(self):
        path = self.plant("x/a_test.cpp", ALONE)
        first = sources("--unite", self.place / "out", path)[0]
        os.utime(first, (1, 1))
        sources("--unite", self.place / "out", path)
        self.assertEqual(first.stat().st_mtime, 1)
        path.write_text(ALONE + "// more\n", encoding="utf-8")
        sources("--unite", self.place / "out", path)
        self.assertNotEqual(first.stat().st_mtime, 1)

    def test_no_file_of_ours_is_lost(self):
        files = files_of_the_programs()
        made = sources("--unite", self.place / "out", *files)
        self.assertLess(len(made), len(files) / 2, "hardly any file takes part any more")
        lines = "\n".join(path.read_text(encoding="utf-8") for path in made if path not in files)
        for path in files:
            self.assertTrue(path in made or f'#line 1 "{path}"\n' in lines, path)


class threads(unittest.TestCase):
    def test_every_file_that_starts_one_is_in(self):
        chosen = sources("--threads", *files_of_the_programs())
        self.assertGreater(len(chosen), 20)
        for path in files_of_the_programs():
            if STARTS.search(path.read_text(encoding="utf-8")):
                self.assertIn(path, chosen, "starts threads, and tests/tools/sources.py leaves it "
                              "out: what does it include that THREADS does not name?")

    def test_a_new_file_is_in_by_what_it_includes(self):
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder).resolve()
            (place / "helper.hpp").write_text("#include <thread>\n", encoding="utf-8")
            texts = {"direct": "#include <thread>\n", "helped": '#include "helper.hpp"\n',
                     "loops": "#include <coro/runtime/loop_handle.hpp>\n",
                     "support": '#include "support/supervised_thread.hpp"\n',
                     "none": "#include <string>\n"}
            for name, text in texts.items():
                (place / f"{name}_test.cpp").write_text(text, encoding="utf-8")
            chosen = sources("--threads", *place.glob("*.cpp"))
        self.assertEqual({path.name for path in chosen},
                         {f"{name}_test.cpp" for name in texts} - {"none_test.cpp"})


if __name__ == "__main__":
    unittest.main()
