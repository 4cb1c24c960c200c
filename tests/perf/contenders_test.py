#!/usr/bin/env python3
# ctest: timeout=480 serial
"""Every contender of perf/ echoes what it is sent, in whatever pieces, ends when it is told to, and
says in a sentence what its model cannot serve."""
import ctypes
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PERF = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve() / "perf"
sys.path.insert(0, str(ROOT / "perf"))
import harness  # noqa: E402

LOAD = str(PERF / "load/coro_load")
LOOPS = ["polling_echo", "select_echo", "poll_echo", "epoll_echo", "epoll_edge_echo"]
SETUP_OF_URING = 425  # its number as a system call, on all machines


def uring_is_allowed():
    """Kernels before 5.1 have no io_uring, and containers often refuse it."""
    ring = harness.LIBC.syscall(SETUP_OF_URING, 4, ctypes.create_string_buffer(120))
    if ring >= 0:
        os.close(ring)
    return ring >= 0


RAW = [*LOOPS, "process_echo", "threads_echo", "thread_pool_echo",
       *(["uring_echo"] if uring_is_allowed() else [])]
WINDOWS = (0.1, 2, 20)  # a longer one where a busy machine left the one before it empty
FAR = 60  # a limit against hanging
CANNOT = 3


def program(name):
    return str(PERF / "contenders" / name)


def load(server, *words, windows=WINDOWS):
    """What coro_load measured, which has verified every byte."""
    for seconds in windows:
        try:
            return harness.run_load(LOAD, server.port, [
                "--seconds", str(seconds), "--warmup", "0.02", *words])
        except harness.Starved:
            if seconds == windows[-1]:
                raise
    return None


def exchange(port, sent, read_late):
    """What comes back of `sent` until the server closes, after we have ended our direction."""
    with socket.create_connection(("127.0.0.1", port), FAR) as peer:
        writer = threading.Thread(target=lambda: (peer.sendall(sent),
                                                  peer.shutdown(socket.SHUT_WR)))
        writer.start()
        silent = 0
        while read_late and writer.is_alive() and silent < 5:  # until nobody takes anything more
            _, room, _ = select.select([], [peer], [], 0)
            silent = 0 if room else silent + 1
            time.sleep(0.01)
        back = bytearray()
        while piece := peer.recv(1 << 20):
            back += piece
        writer.join()
    return bytes(back)


class typed:
    """A server with a pipe as its standard input."""

    def __init__(self, name):
        self.process = subprocess.Popen([program(name), "--port", "0"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        preexec_fn=harness.prepare(None))

    def __enter__(self):
        self.port = int(self.process.stdout.readline().split(":")[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()


class every_contender(unittest.TestCase):
    def test_it_echoes_small_large_and_short(self):
        for name in RAW:
            with self.subTest(name), harness.Server([program(name)]) as server:
                for words in (["--connections", "8"],
                              ["--connections", "8", "--depth", "16"],
                              ["--connections", "3", "--size", "1048576", "--depth", "2"],
                              ["--connections", "4", "--short"]):
                    self.assertGreater(load(server, *words)["messages_total"], 0, words)

    def test_it_sends_the_rest_to_one_who_reads_late_and_sees_the_end_behind_the_bytes(self):
        large = os.urandom(1 << 16) * 256  # 16 MiB: more than the buffers of both sockets hold
        for name in RAW:
            with self.subTest(name), harness.Server([program(name)]) as server:
                self.assertEqual(exchange(server.port, b"short", False), b"short")
                self.assertTrue(exchange(server.port, large, True) == large, "other bytes")

    def test_a_buffer_of_one_byte_will_do(self):
        for name in [*LOOPS, "thread_pool_echo"]:
            with self.subTest(name), harness.Server([program(name), "--buffer", "1"]) as server:
                sent = bytes(range(256)) * 4
                self.assertEqual(exchange(server.port, sent, False), sent)


class a_typed_q(unittest.TestCase):
    def test_it_ends_the_loops_and_nothing_else_does(self):
        for name in LOOPS:
            with self.subTest(name), typed(name) as server:
                server.type("hello\n")
                self.assertEqual(exchange(server.port, b"1", False), b"1")
                server.type("q\n")
                self.assertEqual(server.process.wait(FAR), 0)

    def test_the_end_of_the_input_does_not(self):
        for name in LOOPS:
            with self.subTest(name), typed(name) as server:
                server.process.stdin.close()
                for word in (b"one", b"two"):
                    self.assertEqual(exchange(server.port, word, False), word)
                self.assertIsNone(server.process.poll())

    def test_a_server_without_a_standard_input_serves(self):
        for name in LOOPS:
            with self.subTest(name):
                command = ["/bin/sh", "-c", f"exec '{program(name)}' \"$@\" <&-", name]
                with harness.Server(command) as server:
                    self.assertEqual(exchange(server.port, b"word", False), b"word")


class what_a_model_cannot_serve(unittest.TestCase):
    def refused(self, command, connections):
        server = harness.Server(command).__enter__()
        self.addCleanup(server.stop)
        with self.assertRaises(harness.Failure):
            load(server, "--connections", str(connections))
        self.assertEqual(server.process.wait(FAR), CANNOT)
        return server.complaint()

    def test_select_has_no_bit_for_descriptor_1024(self):
        with harness.Server([program("select_echo")]) as server:
            self.assertGreater(load(server, "--connections", "1000")["messages_total"], 0)
        self.assertIn("select knows those below 1024 only",
                      self.refused([program("select_echo")], 1030))

    def test_a_process_each_has_a_limit(self):
        command = [program("process_echo"), "--most", "4"]
        with harness.Server(command) as server:
            for _ in range(2):  # those that have ended do not count
                self.assertGreater(load(server, "--connections", "4")["messages_total"], 0)
        self.assertIn("serve connection 5: a process for each is meant for at most 4",
                      self.refused(command, 5))


    def test_a_thread_each_needs_room_for_its_stack(self):
        """256 MiB of address space hold a stack of 192 MiB, and no second one."""
        command = ["/bin/sh", "-c", f"ulimit -v 262144 && exec '{program('threads_echo')}' \"$@\"",
                   "threads_echo", "--stack", str(192 << 10)]
        self.assertRegex(self.refused(command, 2),
                         "serve one connection more: make its thread: .*; raise the limits")


class idle_connections(unittest.TestCase):
    def test_they_are_there_until_the_block_ends(self):
        with harness.Server([program("epoll_echo")]) as server, \
                harness.IdleConnections(LOAD, server.port, 3) as idle:
            self.assertIsNone(idle.process.poll())
        self.assertIsNotNone(idle.process.poll())

    def test_whoever_loses_them_before_is_told(self):
        with harness.Server([program("epoll_echo")]) as server, \
                self.assertRaisesRegex(harness.Failure, "ended by itself with status 1"), \
                harness.IdleConnections(LOAD, server.port, 3) as idle:
            server.stop()
            idle.process.wait(FAR)


class processes(unittest.TestCase):
    def test_the_cpu_time_of_the_children_is_that_of_the_server(self):
        """The parent sleeps in accept(2) all the time."""
        with harness.Server([program("process_echo")]) as server:
            found = load(server, "--server-pid", str(server.pid), "--connections", "4")
            self.assertGreater(found["server_cpu_us_per_message"], 0.1)

    def test_of_ended_children_too(self):
        with harness.Server([program("process_echo")]) as server:
            found = load(server, "--connections", "4", "--short", "--server-pid",
                         str(server.pid), windows=(1, 20))
            with open(f"/proc/{server.pid}/stat", encoding="utf-8") as stat:
                own = sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
        counted = found["server_cpu_us_per_message"] * found["messages"] / 1e6
        self.assertGreater(counted, own / os.sysconf("SC_CLK_TCK"), "its own, warm-up and all")

    def test_no_child_outlives_its_parent(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            server = harness.Server([program("process_echo")]).__enter__()
            with socket.create_connection(("127.0.0.1", server.port), FAR) as peer:
                peer.sendall(b"x")
                self.assertEqual(peer.recv(1), b"x")
                os.kill(server.pid, number)
                self.assertIn(peer.recv(1), (b"",), "the child of a server that has ended answers")
            server.stop()


if __name__ == "__main__":
    unittest.main()
