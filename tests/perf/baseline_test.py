#!/usr/bin/env python3
# ctest: timeout=120
"""No message and no primitive takes 3 % more instructions than perf/baseline/counts.json says.

Ends with 77, a skip, and says why, for builds of which no counts are kept, and without valgrind.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
sys.path.insert(0, str(ROOT / "perf"))
import baseline  # noqa: E402
import harness  # noqa: E402


class judging(unittest.TestCase):
    KEPT = {"child_task": 200.0, "message": 1000.0}

    def wrong(self, **counts):
        return baseline.judge({**self.KEPT, **counts}, self.KEPT)[1]

    def test_three_percent_more_is_flagged_and_less_is_not(self):
        self.assertEqual(self.wrong(), [])
        self.assertEqual(self.wrong(message=1029.0), [])
        self.assertEqual(self.wrong(message=500.0), [])
        self.assertEqual(self.wrong(message=1031.0),
                         ["message takes 1031.0 instructions instead of 1000.0: 3.1 % more"])

    def test_what_has_no_partner_is_flagged(self):
        self.assertEqual(self.wrong(late=1.0), ["late is new"])
        self.assertEqual(baseline.judge({"message": 1000.0}, self.KEPT)[1], ["child_task is gone"])

    def test_counts_belong_to_a_build(self):
        kept, entries = baseline.kept_entry({"compiler": "another"})
        self.assertIsNone(kept)
        self.assertGreater(len(entries), 0)
        for entry in entries:
            self.assertEqual(baseline.kept_entry(entry["build"])[0], entry)

    def test_io_uring_is_compared_on_the_kernel_of_the_counts_only(self):
        counts = {"child_task": 1.0, "fiber, io_uring: message": 2.0, "fiber, epoll: message": 3.0}
        entry = {"kernel": "6.1", "counts": counts}
        rest = {"child_task": 1.0, "fiber, epoll: message": 3.0}
        for running, servers, expected in (("6.1", baseline.SERVERS, counts),
                                           ("6.2", baseline.SERVERS, rest),
                                           ("6.1", ["fiber, epoll"], rest)):
            for each in baseline.comparable(counts, entry, servers, running):
                self.assertEqual(each, expected)

    def test_a_folder_that_is_no_build_is_refused(self):
        with self.assertRaises(harness.Misuse):
            baseline.describe(ROOT / "perf")

    @unittest.skipUnless(shutil.which("valgrind"), "there is no valgrind")
    def test_a_count_is_the_same_each_time_and_more_work_has_more(self):
        first, second = (baseline.count_primitives(BUILD) for _ in range(2))
        self.assertEqual(first, second)
        self.assertGreater(first["three_nested_tasks"], 2 * first["child_task"])
        self.assertGreater(min(first.values()), 1)


def compare():
    """The exit status of perf/baseline.py for this build."""
    return subprocess.run([sys.executable, ROOT / "perf/baseline.py", "--build", BUILD],
                          check=False).returncode


if __name__ == "__main__":
    if not unittest.main(exit=False).result.wasSuccessful():
        sys.exit(1)
    sys.exit(compare())
