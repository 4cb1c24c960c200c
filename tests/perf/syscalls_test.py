#!/usr/bin/env python3
# ctest: timeout=120 serial
"""perf/syscalls.py does fail: on a bound that is broken, and on counters that disagree."""
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PERF = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve() / "perf"
sys.path.insert(0, str(ROOT / "perf"))
import syscalls  # noqa: E402


def count(bound, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / "perf/syscalls.py", "--load", PERF / "load/coro_load", "--max",
         bound, *arguments, "--", "--connections", "4", "--seconds", "0.3", "--warmup", "0"],
        capture_output=True, text=True, check=False)


class calls(unittest.TestCase):
    def test_canary_a_broken_bound_is_seen(self):
        run = count("recv=0.5", PERF / "contenders/epoll_echo")
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertRegex(run.stderr, r"recv is \d\.\d+ per message, above 0\.5")

    def test_canary_counters_that_disagree_are_seen(self):
        line = "poller epoll receives 5000 sends 3001 waits 12 controls 9"
        counted = syscalls.parse_counters(f"listening 127.0.0.1:1\n{line}\n")
        seen = {"recv": 3000, "send": 3000, "epoll_wait": 10, "epoll_ctl": 8}
        self.assertEqual(
            syscalls.disagreements(counted, seen, 4),
            ["the server counted 5000 receives, strace saw 3000 of recv"])

    def test_a_server_without_counters_has_none(self):
        self.assertIsNone(syscalls.parse_counters("listening 127.0.0.1:1\n"))


if __name__ == "__main__":
    unittest.main()
