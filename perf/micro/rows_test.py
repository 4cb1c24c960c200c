#!/usr/bin/env python3
"""Every micro-benchmark runs and has a row: rows_test.py PATH/coro_micro. No figure is judged.

Left out are those whose number of rounds is fixed, and takes seconds: timers_ and post_.
"""
import json
import subprocess
import sys
import unittest

PROGRAM = sys.argv.pop() if len(sys.argv) > 1 else None
FIXED = ("timers_", "post_")
# One of each kind; those that docs/performance.md names are among them.
WANTED = (
    "thread_create_and_join", "thread_hand_over", "thread_mutex_lock", "bare_coroutine_child",
    "raw_jump", "raw_context_switch", "task_awaits_fiber", "task_spawns_fibers/1000",
    *(f"in_a_fiber/{name}" for name in (
        "switch", "yield", "yield_among/4000", "ready_await", "awaits_child_task",
        "spawn_and_join/1000", "spawn_wait_and_join/1000")),
    *(f"in_a_loop/{name}" for name in (
        "ready_await", "child_task", "three_nested_tasks", "spawn_and_join/1000", "yield_alone",
        "yield_among/4000", "channel_hand_over", "event_hand_over", "mutex_lock",
        "semaphore_acquire", "when_all_of_two", "when_any_of_two", "with_timeout")),
    *(f"simulated/{name}" for name in ("sleep", "shield", "with_cancel_scope", "with_cleanup")),
    *(f"on_epoll/{name}" for name in (
        "blocking", "signal_next", "channel_between_loops/0", "channel_between_loops/64",
        "mutex_between_loops/0", "mutex_between_loops/1", "pool_lease", "pool_lease_of_two_loops",
        "guardian_header_and_transfer")),
)


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout


class rows(unittest.TestCase):
    def test_each_runs_and_takes_time(self):
        listed = [name for name in run("--benchmark_list_tests").splitlines()
                  if not name.startswith(FIXED)]
        found = json.loads(run(f"--benchmark_filter=-^({'|'.join(FIXED)})",
                               "--benchmark_min_time=0.001", "--benchmark_format=json"))
        took = {each["name"]: each for each in found["benchmarks"]}
        self.assertEqual(sorted(took), sorted(listed))
        for name, each in took.items():
            self.assertNotIn("error_occurred", each, name)
            self.assertGreater(each["real_time"], 0, name)
        plain = {name.removesuffix("/process_time/real_time") for name in took}
        self.assertEqual([name for name in WANTED if name not in plain], [])


if __name__ == "__main__":
    unittest.main()
