#!/usr/bin/env python3
# ctest: timeout=120 serial
"""Runs each example with foreign clients and checks what it says on top: output and exit code."""
import os
import pathlib
import signal
import socket
import subprocess
import threading
import unittest

from support import (
    PATIENCE,
    POLLERS,
    ROOT,
    must_be_built,
    read_exactly,
    reset,
    run,
    server,
    text_of,
)


class silent_peer:
    """Accepts one connection, answers the first five bytes once, and says no more."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        stream, _ = self.listener.accept()
        with stream:
            stream.sendall(read_exactly(stream, 5))
            stream.recv(1)  # until the client has closed

    def close(self):
        self.thread.join(PATIENCE)
        self.listener.close()


class examples(unittest.TestCase):
    maxDiff = None

    def test_each_is_tested_here_and_says_how_to_run_it(self):
        tested = {
            "01_echo_server",
            "02_line_server",
            "03_timeouts",
            "04_task_groups",
            "05_fibers",
        }
        found = {path.stem for path in (ROOT / "examples").glob("*.cpp")}
        for name in tested:
            text = text_of(name)
            self.assertIn("// Run:   build/debug/examples/", text)
            self.assertIn(f"build/debug/examples/{name}", text)
        # Those of later versions bring their own test beside this one.
        here = pathlib.Path(__file__).parent
        others = "".join(
            path.read_text(encoding="utf-8")
            for path in here.glob("*_test.py")
            if path.name != pathlib.Path(__file__).name
        )
        for name in found - tested:
            self.assertIn(name, others, f"examples/{name}.cpp has no test")

    def test_01_echo_server(self):
        for poller in POLLERS:
            for how in (signal.SIGTERM, signal.SIGINT):
                with self.subTest(poller=poller, signal=how.name), server(
                    "01_echo_server", poller
                ) as echo:
                    data = os.urandom(200_000)
                    with echo.connect() as one, echo.connect() as two:
                        two.sendall(b"second")
                        self.assertEqual(read_exactly(two, 6), b"second")
                        sender = threading.Thread(target=one.sendall, args=(data,))
                        sender.start()
                        self.assertEqual(read_exactly(one, len(data)), data)
                        sender.join()
                        one.shutdown(socket.SHUT_WR)
                        self.assertEqual(one.recv(1), b"")
                        # `two` stays connected: the signal ends it.
                        code, out, err = echo.end(how)
                        self.assertEqual((code, out, err), (0, "", ""))
                        self.assertEqual(two.recv(1), b"")

    def test_01_survives_a_client_that_vanishes(self):
        with server("01_echo_server", "automatic") as echo:
            with echo.connect() as rude:
                rude.sendall(b"x")
                self.assertEqual(rude.recv(1), b"x")
                reset(rude)
            with echo.connect() as polite:
                polite.sendall(b"hello")
                self.assertEqual(read_exactly(polite, 5), b"hello")
            code, _, err = echo.end(signal.SIGTERM)
            self.assertEqual(code, 0)
            self.assertRegex(
                err, r"\Acoro: notice: recv 127\.0\.0\.1:\d+: Connection reset by peer\n\Z"
            )

    def test_01_with_nc(self):
        with server("01_echo_server", "automatic") as echo:
            client = subprocess.run(
                ["nc", "-w", "5", "127.0.0.1", str(echo.port)],
                input="one line\n",
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            self.assertEqual(client.stdout, "one line\n")
            self.assertEqual(echo.end(signal.SIGTERM)[0], 0)

    def test_01_refuses_a_port_that_is_none(self):
        end = run("01_echo_server", "70000")
        self.assertEqual((end.returncode, end.stdout), (1, ""))
        self.assertRegex(
            end.stderr, r'\Acoro: main ended: parse address "127\.0\.0\.1:70000": .*\n\Z'
        )

    def test_02_line_server(self):
        dialogue = [
            ("get colour", "unknown key"),
            ("set colour green as grass", "ok"),
            ("get colour", "green as grass"),
            ("hello", "say: set KEY VALUE, get KEY, quit"),
            ("quit", "bye"),
        ]
        for poller in POLLERS:
            with self.subTest(poller=poller), server("02_line_server", poller) as store:
                with store.connect() as client, client.makefile("rw", newline="\n") as lines:
                    for say, hear in dialogue:
                        lines.write(say + "\r\n")
                        lines.flush()
                        self.assertEqual(lines.readline(), hear + "\n")
                    self.assertEqual(lines.readline(), "")
                with store.connect() as client, client.makefile("rb") as lines:
                    client.sendall(b"get colour\nget col")  # a line and a half in one piece
                    self.assertEqual(lines.readline(), b"green as grass\n")
                    client.sendall(b"our\n" + 5 * b"get colour\n")
                    for _ in range(5):
                        self.assertEqual(lines.readline(), b"green as grass\n")
                    self.assertEqual(lines.readline(), b"green as grass\n")
                with store.connect() as client, client.makefile("rb") as lines:
                    client.sendall(b"get colour\n" + b"x" * 1100)
                    self.assertEqual(lines.readline(), b"green as grass\n")
                    self.assertEqual(lines.readline(), b"line too long\n")
                    self.assertEqual(lines.readline(), b"")
                self.assertEqual(store.end(signal.SIGTERM), (0, "", ""))

    def test_02_drains(self):
        with server("02_line_server", "automatic") as store, store.connect() as client:
            with client.makefile("rb") as lines:
                client.sendall(b"set a 1\n")
                self.assertEqual(lines.readline(), b"ok\n")
                store.process.send_signal(signal.SIGINT)
                with self.assertRaises(OSError):  # new clients are refused...
                    while True:
                        store.connect().close()
                self.assertEqual(lines.readline(), b"")  # ...and who waits for a line ends
            store.process.communicate(timeout=PATIENCE)
            self.assertEqual(store.process.returncode, 0)

    def test_03_timeouts(self):
        for poller in POLLERS:
            with self.subTest(poller=poller):
                peer = silent_peer()
                end = run("03_timeouts", str(peer.port), poller=poller)
                peer.close()
                wanted = (
                    f"connected to 127.0.0.1:{peer.port}\n"
                    "reply: hello\n"
                    "nothing more within 200 ms\n"
                    "with_timeout of 100 ms at 03_timeouts.cpp:52: deadline exceeded\n"
                    "connect tcp 127.0.0.1:1: Connection refused\n"
                )
                self.assertEqual((end.stdout, end.stderr, end.returncode), (wanted, "", 0))

    def test_03_without_a_server(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        end = run("03_timeouts", str(port))
        sentence = f"coro: main ended: connect tcp 127.0.0.1:{port}: Connection refused\n"
        self.assertEqual((end.stdout, end.stderr, end.returncode), ("", sentence, 1))

    def test_04_task_groups(self):
        wanted = (
            "== all of a group\n"
            "fast 1\nfast 2\nslow 1\nfast 3\nslow 2\n"
            "the group has ended: 5 in all\n"
            "== one child fails\n"
            "patient: cancelled\n"
            "the group threw: out of paper\n"
            "== values\n"
            "6 * 7 = 42\n"
        )
        # In virtual time the order is exact; in real time a stall may change it.
        end = run("04_task_groups", poller="simulation")
        self.assertEqual((end.stdout, end.stderr, end.returncode), (wanted, "", 0))
        for poller in POLLERS:
            end = run("04_task_groups", poller=poller)
            self.assertEqual(sorted(end.stdout.split("\n")), sorted(wanted.split("\n")))
            self.assertEqual((end.stderr, end.returncode), ("", 0))

    def test_05_fibers(self):
        wanted = (
            "== a fiber and a task\n"
            "the task awaited a fiber, which awaited a task: 42\n"
            "== echo between fibers\n"
            "echoed: hello\nechoed: world\n"
            "== a parser that waits wherever it is\n"
            "3 + 4 * 5 = 23\n"
            "== clean-up\n"
            "said bye in spite of the cancellation\n"
        )
        for poller in [*POLLERS, "simulation"]:
            with self.subTest(poller=poller):
                end = run("05_fibers", poller=poller)
                self.assertEqual((end.stdout, end.stderr, end.returncode), (wanted, "", 0))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    must_be_built("01_echo_server")
    unittest.main()
