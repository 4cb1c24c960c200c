#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""The wrapper around the test programs fails when it must."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
RAN = "[==========] 2 tests from 1 test suite ran. (1 ms total)\n[  PASSED  ] 2 tests.\n"
SKIPPED = (
    "[  SKIPPED ] Net.Needs (0 ms)\n[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] Net.Needs\n"
)


class wrapper(unittest.TestCase):
    def run_it(self, output, status=0, *arguments):
        program = f"import os, sys; sys.stdout.write({output!r}); sys.stdout.flush(); {status}"
        if isinstance(status, int):
            program = program.rsplit(";", 1)[0] + f"; sys.exit({status})"
        run = subprocess.run(
            [sys.executable, ROOT / "tests/tools/run_gtest.py", *arguments, "--"]
            + [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
        )
        return run.returncode, run.stdout

    def test_passes(self):
        self.assertEqual(self.run_it(RAN), (0, RAN))

    def test_a_failing_program(self):
        status, output = self.run_it(RAN, 1)
        self.assertEqual(status, 1)
        self.assertIn("exited with 1", output)

    def test_a_killed_program(self):
        status, output = self.run_it(RAN, "os.kill(os.getpid(), 9)")
        self.assertEqual(status, 1)
        self.assertIn("signal 9", output)

    def test_no_test_ran(self):
        none = "[==========] 0 tests from 0 test suites ran. (0 ms total)\n"
        for text in (none, ""):
            status, output = self.run_it(text)
            self.assertEqual(status, 1)
            self.assertIn("no test ran", output)

    def test_a_skipped_test(self):
        status, output = self.run_it(SKIPPED + RAN)
        self.assertEqual(status, 1)
        self.assertIn("not allowed: Net.Needs", output)
        status, output = self.run_it(SKIPPED + RAN, 0, "--allow-skip", r"Net\.Other")
        self.assertEqual(status, 1)

    def test_shards(self):
        """Each has its part; a failure of either is one; both are shown, and both have a log."""
        said = "import os; print('part', os.environ['GTEST_SHARD_INDEX'], 'of', " \
               "os.environ['GTEST_TOTAL_SHARDS'])\n"
        ran = f"import sys; sys.stdout.write({RAN!r})\n"
        fails = "sys.exit(os.environ['GTEST_SHARD_INDEX'] == '1')\n"
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "of.log"
            for program, wanted in ((said + ran, 0), (said + ran + fails, 1)):
                run = subprocess.run(
                    [sys.executable, ROOT / "tests/tools/run_gtest.py", "--shards", "2", "--log",
                     log, "--", sys.executable, "-c", program],
                    capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, wanted, run.stdout)
                logs = (log, log.with_name("of.2.log"))
                for part, place in zip(("part 0 of 2", "part 1 of 2"), logs):
                    self.assertIn(part, run.stdout)
                    self.assertIn(part, place.read_text(encoding="utf-8"))

    def test_an_allowed_skip(self):
        self.assertEqual(self.run_it(SKIPPED + RAN, 0, "--allow-skip", r"Net\..*")[0], 0)

    def test_keeps_the_log(self):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "deep" / "a.log"
            self.run_it(RAN, 0, "--log", str(log))
            self.assertEqual(log.read_text(encoding="utf-8"), RAN)


if __name__ == "__main__":
    unittest.main()
