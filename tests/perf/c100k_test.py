#!/usr/bin/env python3
# ctest: timeout=60 serial
"""perf/c100k.py on a small scale, on both pollers: each loop has its own table of descriptors."""
import contextlib
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import tempfile
import time
import types
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
sys.path.insert(0, str(ROOT / "perf"))
import c100k  # noqa: E402
import harness  # noqa: E402

SERVER = str(BUILD / "perf/c100k/c100k_server")
LOAD = str(BUILD / "perf/load/coro_load")
ROOM = {"descriptors": 20_000, "files": 1 << 20, "ports": 25_000, "memory": 8 << 30}


def measure(*words, seconds=0.2):
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "found.json")
        done = subprocess.run(
            [sys.executable, ROOT / "perf/c100k.py", "--build", BUILD, "--seconds", str(seconds),
             "--output", output, *map(str, words)], capture_output=True, text=True, check=False)
        found = json.loads(output.read_text(encoding="utf-8")) if output.exists() else None
    return done, found


class small(unittest.TestCase):
    def check_poller(self, poller):
        for seconds in (0.2, 2, 10):  # a longer window where a busy machine left one empty
            done, found = measure("--connections", 600, "--active", 12, "--poller", poller,
                                  seconds=seconds)
            if "no message came back" not in done.stderr:
                break
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("600 open", done.stdout)
        for run in ("alone", "among_all", "alone_again"):
            self.assertGreater(found[run]["closed"]["messages"], 0)
            self.assertGreater(found[run]["closed"]["cpu_us_per_message"], 0)
            # 500 a second were due, from eight clients: all of them count.
            self.assertGreaterEqual(found[run]["open"]["samples"], 450 * seconds)
        self.assertGreater(found["memory"]["user"], 0)

    def test_epoll(self):
        self.check_poller("epoll")

    def test_io_uring(self):
        try:
            with harness.Server([SERVER, "--poller", "io_uring", "--loops", "1"]):
                pass
        except harness.Failure as failure:  # containers may refuse it: then that is what is said
            self.assertIn("io_uring", str(failure))
            done, _ = measure("--connections", 600)
            self.assertEqual(done.returncode, 1)
            self.assertIn("io_uring", done.stderr)
            return
        self.check_poller("io_uring")


class tables(unittest.TestCase):
    """The limit of descriptors is one of each loop: 3 loops hold more than the limit together."""
    LIMIT = 100

    def load(self, server, patience):
        with c100k.Clients(LOAD, server, [60, 60, 60], [1, 1, 1], 0.1,
                           time.monotonic() + patience) as clients:
            return clients.window(0, 0.2)

    def server(self, tables):
        return harness.Server(["bash", "-c", f"ulimit -n {self.LIMIT}; exec \"$@\"", "bash", SERVER,
                               "--loops", "3", "--poller", "epoll", "--tables", tables,
                               "--port", "0"])

    def test_tables_of_their_own_hold_more_than_one_table(self):
        with self.server("own") as server:
            found = self.load(server, 60)
            open_files = [len(os.listdir(f"/proc/{server.pid}/task/{thread}/fd"))
                          for thread in os.listdir(f"/proc/{server.pid}/task")]
        self.assertEqual(len(found), 3)
        self.assertEqual(len(open_files), 3)
        self.assertLess(max(open_files), self.LIMIT)

    def test_canary_one_table_does_not_hold_them(self):
        with self.server("shared") as server, contextlib.ExitStack() as peers:
            opened = [peers.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                      for _ in range(2 * self.LIMIT)]
            while len(os.listdir(f"/proc/{server.pid}/fd")) < self.LIMIT - 5:
                time.sleep(0.01)
            for peer in opened:
                peer.sendall(b"x")
            for peer in opened:
                peer.setblocking(False)
            time.sleep(0.1)
            answered = len(select.select(opened, [], [], 0)[0])
        self.assertLess(answered, self.LIMIT)


class room(unittest.TestCase):
    def missing(self, limits=None, **chosen):
        options = {"connections": 100_000, "loops": 6, "tables": "own", **chosen}
        return c100k.shortages(types.SimpleNamespace(**options), {**ROOM, **(limits or {})})

    def test_a_limit_that_is_too_low_is_named_with_its_remedy(self):
        self.assertEqual(self.missing(), [])
        self.assertEqual(self.missing(loops=5),
                         ["20064 descriptors in a table of the server are needed and there are "
                          "20000: raise ulimit -n, or give more --loops"])
        for name, remedy in (("files", "fs.file-max"), ("ports", "ip_local_port_range"),
                             ("memory", "fewer --connections")):
            (said,) = self.missing({name: 10_000})
            self.assertIn(remedy, said)
        (said,) = self.missing(tables="shared")
        self.assertIn("--tables own", said)

    def test_misuse(self):
        for words in (("--loops", 0), ("--active", 7), ("--active", 700, "--connections", 600),
                      ("--seconds", 0), ("--connections", 10**9)):
            done, found = measure(*words)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIsNone(found)


class arithmetic(unittest.TestCase):
    def test_a_message_costs_the_cpu_time_of_all_windows_at_once(self):
        window = {"messages": 1000, "seconds": 2.0, "server_busy_percent": 50.0,
                  "messages_per_second": 500.0,
                  "latency_us": {"samples": 1, "buckets": [[7.0, 1]], "max": 7.0}}
        found = c100k.digest_cost([window, {**window, "messages": 3000}])
        self.assertEqual(found["cpu_us_per_message"], 250)  # 1 s for 4000 messages

    def test_percentiles_are_those_of_the_samples_of_all_clients(self):
        quick = {"latency_us": {"samples": 97, "buckets": [[1.0, 50], [2.0, 47]], "max": 2.0}}
        slow = {"latency_us": {"samples": 3, "buckets": [[1.5, 1], [90.0, 2]], "max": 91.0}}
        self.assertEqual(c100k.digest_latency([quick, slow]),
                         {"samples": 100, "max": 91.0, "p50": 1.0, "p90": 2.0, "p99": 90.0})
        none = {"latency_us": {"samples": 0, "buckets": [], "max": 0.0}}
        self.assertIsNone(c100k.digest_latency([none])["p99"])

    def test_what_cores_hold_follows_from_cost_and_bytes(self):
        self.assertEqual(c100k.capacity(10, 5000, 16, 60), (96_000_000, 480_000_000_000))
        found = {"among_all": {"closed": {"cpu_us_per_message": 10.0}},
                 "memory": {"user": 1000.0, "kernel_server_end": 4000.0}}
        lines = list(c100k.capacities(found))
        self.assertIn("at 10.0 us a message and 5000 bytes", lines[1])
        self.assertRegex(lines[-1], r"every 60 s +6\.00 M, 27\.9 GiB +96\.00 M, 447\.0 GiB")
        found["among_all"]["closed"]["cpu_us_per_message"] = None  # nothing came back
        self.assertEqual(list(c100k.capacities(found)), [])

    def test_the_servers_end_has_half_of_what_both_have_and_all_of_its_own(self):
        before = {"user": 0, "slab": 0, "slabs": {}}
        after = {"user": 8000, "slab": 60_000,
                 "slabs": {"TCP": 40_000, "io_kiocb": 2000, "eventpoll_epi": 1000}}
        found = c100k.memory_of_a_connection(before, after, 10, "io_uring")
        self.assertEqual(found["user"], 800)
        self.assertEqual(found["kernel_both_ends"], 6000)
        self.assertEqual(found["kernel_server_end"], 2200)
        found = c100k.memory_of_a_connection(before, after, 10, "epoll")
        self.assertEqual(found["kernel_server_end"], 2050)


if __name__ == "__main__":
    unittest.main()
