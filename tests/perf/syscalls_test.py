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


def run(*words):
    return subprocess.run([sys.executable, ROOT / "perf/syscalls.py", *words],
                          capture_output=True, text=True, check=False)


def count(bound, *server):
    return run("--load", PERF / "load/coro_load", "--max", bound, *server, "--",
               "--connections", "4", "--seconds", "3", "--warmup", "0")


def play(rounds, bound, *server):
    return run("--rounds", str(rounds), "--connections", "8", "--max", bound, *server)


class calls(unittest.TestCase):
    def test_canary_a_broken_bound_is_seen(self):
        seen = count("recv=0.5", PERF / "contenders/epoll_echo")
        self.assertEqual(seen.returncode, 1, seen.stdout + seen.stderr)
        self.assertRegex(seen.stderr, r"recv is \d\.\d+ per message, above 0\.5")

    def test_canary_a_broken_bound_of_rounds_is_seen_and_exact(self):
        seen = play(5, "recv=0.9", PERF / "contenders/epoll_echo")
        self.assertEqual(seen.returncode, 1, seen.stdout + seen.stderr)
        self.assertIn("40 messages\n", seen.stdout)
        self.assertRegex(seen.stdout, r"\nrecv +40  1\.0000\nsend +40  1\.0000\n"
                                      r"|\nsend +40  1\.0000\nrecv +40  1\.0000\n")
        self.assertIn("above 0.9", seen.stderr)

    def test_canary_a_server_that_alters_bytes_ends_the_rounds(self):
        seen = play(400, "recv=9", PERF / "load/coro_load", "--serve-corrupt")
        self.assertEqual(seen.returncode, 1, seen.stdout + seen.stderr)
        self.assertIn("sent back other bytes", seen.stderr)

    def test_rounds_refuse_what_they_would_ignore(self):
        for words in (["--rounds", "0"], ["--rounds", "2", "--connections", "0"]):
            self.assertEqual(run(*words, PERF / "contenders/epoll_echo").returncode, 2)
        seen = run("--rounds", "2", PERF / "contenders/epoll_echo", "--", "--size", "64")
        self.assertEqual(seen.returncode, 2)
        self.assertIn("coro_load", seen.stderr)

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
