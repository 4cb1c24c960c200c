#!/usr/bin/env python3
# ctest: timeout=60 serial
"""coro_load's shapes of load are what they say, seen from the server's side of the connections.

The server is this script: a thread for each connection, which keeps what came. Nothing is asserted
that depends on who else runs: of times only lower bounds.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
sys.path.insert(0, str(ROOT / "perf"))
import c100k  # noqa: E402

LOAD = str(BUILD / "perf/load/coro_load")
FAR = 50  # a limit against hanging
LONGER = (0.4, 4, 20)  # windows: a longer one where a busy machine left the one before it empty
BLOCK = 64 << 10  # bytes of a slow connection's message


class echo_server:
    """Echoes on a thread for each connection. `pause_at` is (connection, bytes, seconds): so long
    it answers nothing once so much has come on that connection."""

    def __init__(self, pause_at=None):
        self.pause_at = pause_at
        self.received = []  # bytes, by connection
        self.largest = []  # bytes of the largest receive, by connection
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        self.start(self.accept_all)
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # ends the accept
        self.listener.close()
        for thread in self.threads:
            thread.join()

    def start(self, what, *arguments):
        thread = threading.Thread(target=what, args=arguments)
        self.threads.append(thread)
        thread.start()

    def accept_all(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.received.append(0)
            self.largest.append(0)
            self.start(self.echo, peer, len(self.received) - 1)

    def echo(self, peer, number):
        with peer:
            try:
                while data := peer.recv(1 << 20):
                    before = self.received[number]
                    self.received[number] += len(data)
                    self.largest[number] = max(self.largest[number], len(data))
                    if self.pause_at and number == self.pause_at[0] \
                            and before < self.pause_at[1] <= self.received[number]:
                        time.sleep(self.pause_at[2])
                    peer.sendall(data)
            except OSError:
                pass  # the load has ended


def run(*words, **how):
    return subprocess.run([LOAD, *map(str, words)], capture_output=True, text=True, check=False,
                          timeout=FAR, **how)


def load(port, *words, **how):
    return run("--port", port, "--warmup", 0, *words, **how)


class shapes(unittest.TestCase):
    def measure(self, server, *words):
        done = load(server.port, "--json", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def until(self, is_enough, *words):
        """The server and the figures of the first window that was long enough."""
        for seconds in LONGER:
            with echo_server() as server:
                done = load(server.port, "--json", "--seconds", seconds, *words)
            if done.returncode == 0 and is_enough(found := json.loads(done.stdout)):
                return server, found
        self.fail(f"in {seconds} s: {done.returncode} {done.stdout} {done.stderr}")

    def test_an_open_loop_counts_all_that_was_due_while_the_server_paused(self):
        """Message i is due i/200 s after the start. The server pauses before it answers message 50,
        and one connection answers in order: so each message of that second is late by what was
        left of it when it was due, or by more."""
        rate, pause, seconds = 200, 1.0, 3
        first = 64  # the exchange that opens the connection
        with echo_server(pause_at=(0, first + 51 * 64, pause)) as server:
            found = self.measure(server, "--connections", 1, "--rate", rate, "--seconds", seconds)
        latency = found["latency_us"]
        self.assertEqual(found["loop"], "open")
        self.assertEqual(latency["samples"], rate * seconds)
        late = rate * pause / latency["samples"]  # the share that was due in the pause: a third
        for percentile in ("p75", "p90", "p95", "p99"):
            above = 1 - float(percentile[1:]) / 100  # the share that took longer
            bound = pause * (1 - above / late) - 2 / rate
            self.assertGreaterEqual(latency[percentile], bound * 1e6 * 0.996, percentile)
        self.assertGreaterEqual(latency["max"], pause * 1e6)

    def test_an_open_loop_counts_what_comes_back_after_the_window(self):
        with echo_server(pause_at=(0, 64 + 11 * 64, 1.0)) as server:
            found = self.measure(server, "--connections", 1, "--rate", 100, "--seconds", 0.5)
        self.assertEqual(found["latency_us"]["samples"], 50)
        self.assertGreaterEqual(found["latency_us"]["p50"], 0.7 * 1e6)

    def test_idle_connections_exchange_one_message_and_no_more(self):
        server, found = self.until(lambda found: found["fairness"]["least"] > 0,
                                   "--connections", 40, "--active", 5)
        self.assertEqual(found["active"], 5)
        self.assertEqual(sum(count == 64 for count in server.received), 35)
        self.assertEqual(sum(server.received), 64 * found["messages_total"])
        among = found["fairness"]
        self.assertLessEqual(among["least"] * 5, found["messages"])
        self.assertGreaterEqual(among["most"] * 5, found["messages"])
        self.assertLessEqual(among["jain"], 1)

    def test_slow_connections_read_a_trickle_and_hold_the_server_back(self):
        server, found = self.until(
            lambda found: found["slow_held_back"] == 2 and found["messages"] > 0,
            "--connections", 12, "--slow", "15%", "--trickle", 20000)
        self.assertEqual(found["slow_connections"], 2)
        read = found["slow_bytes_per_second_each"] * found["seconds"]
        self.assertLessEqual(read, 2000 * (found["seconds"] * 10 + 1))
        self.assertGreater(read, 0)
        self.assertIsNone(found["server_cpu_us_per_message"])
        # They sent what the sockets took, and all of it came back, as the status says.
        slow = [bytes_ for bytes_, largest in zip(server.received, server.largest) if largest > 64]
        self.assertEqual(len(slow), 2)
        for count in slow:
            self.assertGreaterEqual(count, 4 * BLOCK)
            self.assertEqual(count % BLOCK, 0)

    def test_a_greedy_connection_has_its_depth_and_the_polite_ones_have_one(self):
        server, found = self.until(
            lambda found: found["messages"] > 0 and found["greedy_messages"] > 0,
            "--connections", 6, "--greedy", 16)
        self.assertEqual(sorted(size > 64 for size in server.largest), [False] * 5 + [True])
        self.assertGreaterEqual(max(server.largest), 16 * 64)
        both = found["messages"] + found["greedy_messages"]
        self.assertAlmostEqual(found["greedy_share"], found["greedy_messages"] / both, places=5)
        self.assertEqual(found["latency_us"]["samples"], found["messages"])

    def test_a_megabyte_and_sixteen_messages_deep(self):
        _, found = self.until(lambda found: found["messages"] > 0,
                              "--connections", 2, "--size", 1 << 20, "--depth", 16)
        self.assertEqual((found["size"], found["depth"]), (1 << 20, 16))

    def test_cues_are_windows_on_the_same_connections(self):
        with echo_server() as server:
            done = load(server.port, "--json", "--connections", 3, "--cues",
                        input="100 1\n0 3\n")
            self.assertEqual(done.returncode, 0, done.stderr)
            connections = len(server.received)
        opened, paced, closed = done.stdout.splitlines()
        self.assertEqual(opened, "open 3 connections")
        self.assertEqual(json.loads(paced)["latency_us"]["samples"], 100)
        for line in (paced, closed):  # what the clients of perf/c100k.py are merged from
            latency = json.loads(line)["latency_us"]
            merged = c100k.digest_latency([json.loads(line)])
            self.assertEqual(sum(count for _, count in latency["buckets"]), latency["samples"])
            self.assertEqual([merged[name] for name in ("p50", "p90", "p99", "max")],
                             [latency[name] for name in ("p50", "p90", "p99", "max")])
        self.assertEqual(json.loads(closed)["loop"], "closed")
        self.assertGreater(json.loads(closed)["messages"], 0)
        self.assertEqual(connections, 3)

    def test_held_connections_tell_the_memory_of_server_and_kernel(self):
        with echo_server() as server:
            done = run("--port", server.port, "--json", "--connections", 20, "--hold", 0.1,
                       "--server-pid", os.getpid())
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["alive"], 20)
        self.assertGreater(found["anonymous_before_bytes"], 1 << 20)  # an interpreter
        self.assertLessEqual(found["anonymous_after_bytes"], found["rss_after_bytes"])
        # A thread each, and each touches a page of its stack at least.
        self.assertGreaterEqual(found["user_bytes_per_connection"], 4096)
        for when in ("before", "after"):
            self.assertGreater(found[f"kernel_{when}_bytes"]["slab"], 1 << 20)

    def test_what_makes_no_sense_is_refused(self):
        for words, said in (
                (["--slow", "1x"], "--slow: \"1x\" does not fit"),
                (["--slow", "nan"], "does not fit"),
                (["--slow", "64"], "no polite connection"),
                (["--trickle", "10"], "no connection is slow"),
                (["--active", "65"], "more than the 64 connections"),
                (["--greedy", "16", "--connections", "1"], "no polite connection"),
                (["--greedy", "16", "--depth", "2"], "one connection is greedy"),
                (["--short", "--active", "2"], "carries one message"),
                (["--address", "localhost"], "is no IPv4 address"),
                (["--cues", "--rate", "5"], "each line of stdin")):
            done = load(1, *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)

    def test_too_many_connections_for_the_descriptors_are_refused_before_the_first(self):
        with echo_server() as server:
            done = subprocess.run(
                ["bash", "-c", f"ulimit -n 100; exec {LOAD} --port {server.port} "
                 "--connections 90 --seconds 0.1"], capture_output=True, text=True, check=False)
            self.assertEqual(server.received, [])
        self.assertEqual(done.returncode, 1)
        self.assertIn("this process may have 100 descriptors; raise ulimit -n", done.stderr)

    def test_a_cue_that_is_none_is_named(self):
        with echo_server() as server:
            done = load(server.port, "--connections", 1, "--cues", input="fast\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("read cue \"fast\": it is not RATE SECONDS", done.stderr)


if __name__ == "__main__":
    unittest.main()
