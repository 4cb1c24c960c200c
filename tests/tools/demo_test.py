#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""scripts/demo and scripts/perf say what they do, refuse what they do not know, name what is
missing, and name the log of a step that failed. That they work is seen by running them."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPTS = ("scripts/demo", "scripts/perf")
NEEDED_BY_THE_SCRIPTS = ("dirname", "env", "cat")


def run(script, *arguments, root=ROOT, **more):
    return subprocess.run([shutil.which("bash"), root / script, *arguments], capture_output=True,
                          text=True, check=False, **more)


class command_line(unittest.TestCase):
    def test_help_says_what_it_does(self):
        for script in SCRIPTS:
            found = run(script, "--help")
            self.assertEqual(found.returncode, 0, script)
            self.assertIn(f"{script} [--no-install]", found.stdout)
            self.assertEqual(found.stderr, "")

    def test_what_it_does_not_know_is_refused(self):
        for script in SCRIPTS:
            found = run(script, "--fast")
            self.assertEqual(found.returncode, 2, script)
            self.assertEqual(found.stdout, "there is no option '--fast'; --help lists them\n")

    def test_a_word_is_no_number_of_rounds(self):
        for arguments in (("--rounds", "many"), ("--seconds",)):
            found = run("scripts/perf", *arguments)
            self.assertEqual(found.returncode, 2)
            self.assertEqual(found.stdout, f"{arguments[0]} takes a number; --help says more\n")

    def test_what_is_missing_is_named_and_nothing_that_only_the_tests_need(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in NEEDED_BY_THE_SCRIPTS:
                os.symlink(shutil.which(name), pathlib.Path(folder) / name)
            for script in SCRIPTS:
                found = run(script, "--no-install", env={"PATH": folder})
                self.assertEqual(found.returncode, 3, found.stdout + found.stderr)
                self.assertIn("cmake is missing; it configures the build: apt-get install cmake",
                              found.stdout.splitlines())
                self.assertNotIn("strace", found.stdout)
                self.assertEqual(found.stderr, "")


class failures(unittest.TestCase):
    def test_a_build_that_fails_shows_its_end_and_names_its_log(self):
        """In a copy of the scripts, with a cmake that fails."""
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder)
            shutil.copytree(ROOT / "scripts", tree / "scripts")
            (tree / "bin").mkdir()
            cmake = tree / "bin/cmake"
            cmake.write_text("#!/bin/sh\necho '[1/2] no compiler works'; exit 7\n")
            cmake.chmod(0o755)
            path = f"{tree / 'bin'}:{os.environ['PATH']}"
            for script, log in zip(SCRIPTS, ("demo_build", "perf_build")):
                found = run(script, "--no-install", root=tree, env=os.environ | {"PATH": path})
                where = tree / "build/logs" / f"{log}.log"
                self.assertEqual(found.returncode, 1, found.stdout + found.stderr)
                self.assertIn("no compiler works", found.stdout)
                self.assertEqual(found.stderr, f"{log} failed with status 7; the whole log is "
                                 f"{where.resolve()}\n")
                self.assertIn("no compiler works", where.read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()
