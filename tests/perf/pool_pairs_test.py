#!/usr/bin/env python3
# ctest: timeout=120 serial
"""perf/pool_pairs.py measures, and does fail: on a bound that is broken, and on a foreign echo."""
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PERF = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve() / "perf"
sys.path.insert(0, str(ROOT / "perf"))
import pool_pairs  # noqa: E402


def run(*words, server=PERF / "contenders/epoll_echo"):
    return subprocess.run(
        [sys.executable, ROOT / "perf/pool_pairs.py", "--client", PERF / "clients/coro_pool",
         "--server", str(server), "--seconds", "0.05", *words],
        capture_output=True, text=True, check=False)


class pairs(unittest.TestCase):
    def test_it_says_what_both_cost(self):
        for poller in ("epoll", "io_uring"):
            seen = run("--pairs", "7", "--poller", poller)
            self.assertEqual(seen.returncode, 0, seen.stderr)
            interval = r"; ratio \d+\.\d{3} \(95 % interval \d+\.\d{3} - \d+\.\d{3}\)\n"
            self.assertRegex(seen.stdout, f"64 tasks on 16 pooled connections .*, {poller}\n")
            self.assertRegex(seen.stdout,
                             r"\nCPU us/exchange: dedicated [\d.]+, pooled [\d.]+" + interval)
            self.assertRegex(seen.stdout,
                             r"\nexchanges/s: dedicated \d+, pooled \d+" + interval)

    def test_the_ratios_are_those_of_the_pairs(self):
        text = "pair 100 1000000000 50000000 50 1000000000 50000000\n" * 7
        found = pool_pairs.summarize(pool_pairs.parse_pairs(text))
        self.assertEqual(found["rate"]["ratio"], 0.5)
        self.assertEqual(found["cpu"]["ratio"], 2)
        self.assertEqual(found["cpu"]["dedicated"], 500)
        self.assertEqual(found["cpu"]["interval"], (2, 2))

    def test_canary_a_broken_bound_is_seen(self):
        for words, said in ((("--max-cpu", "0.01"), "above 0.01"),
                            (("--min-rate", "100"), "below 100")):
            seen = run("--pairs", "1", *words)
            self.assertEqual(seen.returncode, 1, seen.stdout)
            self.assertIn(said, seen.stderr)
            self.assertIn("too few pairs", seen.stdout)

    def test_canary_a_server_that_alters_bytes_is_seen(self):
        seen = run("--pairs", "20", server=f"{PERF / 'load/coro_load'} --serve-corrupt")
        self.assertEqual(seen.returncode, 1, seen.stdout)
        self.assertIn("it is of another message", seen.stderr)

    def test_nothing_to_measure_is_a_misuse(self):
        for words in (("--pairs", "0"), ("--tasks", "0"), ("--seconds", "0")):
            self.assertEqual(run(*words).returncode, 2, words)


if __name__ == "__main__":
    unittest.main()
