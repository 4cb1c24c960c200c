#!/usr/bin/env python3
# ctest: timeout=120 serial
"""The classic programs, with foreign clients: what they print and carry, and how they end."""
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from support import (
    PATIENCE,
    POLLERS,
    address,
    must_be_built,
    read_exactly,
    reset,
    run,
    server,
    started,
)

NUMBERS = [str(number) for number in range(101)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def foreign_client(port):
    """nc, or socat, connected to the port; None where there is neither."""
    commands = {"nc": ["127.0.0.1", str(port)], "socat": ["-", f"TCP:127.0.0.1:{port}"]}
    for name, arguments in commands.items():
        if shutil.which(name):
            return subprocess.Popen(
                [name, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
    print("neither nc nor socat is here; Python's sockets stand for them")
    return None


class gevent_server(unittest.TestCase):
    FORMS = [[], ["--fibers"]]

    def test_prints_exactly_what_it_promises(self):
        for poller in POLLERS:
            for form in self.FORMS:
                with self.subTest(poller=poller, form=form):
                    self.dialogue(poller, form)

    def dialogue(self, poller, form):
        with server("gevent_server", poller, *form) as gevent:
            with gevent.connect() as two:
                with gevent.connect() as one:
                    first, second = address(one), address(two)
                    self.assertEqual(gevent.line(), f"{second} connected...\n")
                    self.assertEqual(gevent.line(), f"{first} connected...\n")
                    one.sendall(b"hello")
                    self.assertEqual(gevent.line(), f"{first} - hello\n")
                    two.sendall("grüße\r\n".encode())
                    self.assertEqual(gevent.line(), f"{second} - grüße\n")
                    one.sendall(b"\x1b[31mred\x07")
                    self.assertEqual(gevent.line(), f"{first} - .[31mred.\n")
                    one.sendall(b"x" * 3000)
                    left = 3000
                    while left > 0:  # TCP may cut it further
                        line = gevent.line()
                        match = re.fullmatch(re.escape(first) + " - (x+)\n", line)
                        self.assertTrue(match, line)
                        self.assertLessEqual(len(match.group(1)), 1024)
                        left -= len(match.group(1))
                    self.assertEqual(left, 0)
                    one.shutdown(socket.SHUT_WR)
                    self.assertEqual(gevent.line(), f"{first} was disconnected\n")
                    self.assertEqual(one.recv(1), b"")
                # `two` stays connected: Ctrl-C ends it.
                self.assertEqual(gevent.end(), (0, "", ""))
                self.assertEqual(two.recv(1), b"")

    def test_survives_a_client_that_vanishes(self):
        for form in self.FORMS:
            with server("gevent_server", "automatic", *form) as gevent:
                rude = gevent.connect()
                who = address(rude)
                self.assertEqual(gevent.line(), f"{who} connected...\n")
                reset(rude)
                with gevent.connect() as polite:
                    self.assertEqual(gevent.line(), f"{address(polite)} connected...\n")
                    polite.sendall(b"still there?")
                    self.assertEqual(gevent.line(), f"{address(polite)} - still there?\n")
                said = f"coro: error: recv {who}: Connection reset by peer\n"
                code, _, err = gevent.end()
                self.assertEqual((code, err), (0, said))

    def test_with_a_foreign_client(self):
        with server("gevent_server", "automatic") as gevent:
            if client := foreign_client(gevent.port):
                who = gevent.line().removesuffix(" connected...\n")
                self.assertRegex(who, r"\A127\.0\.0\.1:\d+\Z")
                for text in ("one line", "another one"):
                    client.stdin.write(text + "\n")
                    client.stdin.flush()
                    self.assertEqual(gevent.line(), f"{who} - {text}\n")
                client.kill()
                client.communicate()
                self.assertEqual(gevent.line(), f"{who} was disconnected\n")
            self.assertEqual(gevent.end(), (0, "", ""))


class random_sender(unittest.TestCase):
    def test_sends_a_number_a_second_on_each_of_five(self):
        for poller in POLLERS:
            with self.subTest(poller=poller):
                self.three_rounds(poller)

    def three_rounds(self, poller):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            before = time.monotonic()
            with started("random_sender", str(listener.getsockname()[1]), poller=poller) as sender:
                streams = {}
                for _ in range(5):
                    stream, peer = listener.accept()
                    stream.settimeout(PATIENCE)
                    streams["{}:{}".format(*peer)] = stream
                said = {who: [] for who in streams}
                while any(len(numbers) < 3 for numbers in said.values()):
                    match = re.fullmatch(r"(\S+) sends (\d+)\n", sender.line())
                    self.assertIn(match.group(2), NUMBERS)
                    said[match.group(1)].append(match.group(2))
                self.assertGreaterEqual(time.monotonic() - before, 2)
                for who, stream in streams.items():
                    numbers = "".join(said[who]).encode()
                    self.assertEqual(read_exactly(stream, len(numbers)), numbers)
                code, _, err = sender.end()
                self.assertEqual((code, err), (0, ""))
                for stream in streams.values():
                    with stream:
                        while stream.recv(100):
                            pass

    def test_the_end_of_the_server_is_one_line(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with started("random_sender", str(port)) as sender:
                for _ in range(5):
                    listener.accept()[0].close()
                code, _, err = sender.wait()
        self.assertEqual(code, 1)
        self.assertRegex(
            err,
            rf"\Acoro: main ended: write_all 127\.0\.0\.1:{port}: "
            r"(Broken pipe|Connection reset by peer)\n\Z",
        )

    def test_without_a_server(self):
        port = free_port()
        end = run("random_sender", str(port))
        said = f"coro: main ended: connect tcp 127.0.0.1:{port}: Connection refused\n"
        self.assertEqual((end.returncode, end.stdout, end.stderr), (1, "", said))

    def test_with_gevent_server(self):
        for form in gevent_server.FORMS:
            with server("gevent_server", "automatic", *form) as gevent:
                with started("random_sender", str(gevent.port)) as sender:
                    sent = [sender.line().split(" sends ") for _ in range(5)]
                    heard = {f"{who} - {number}" for who, number in sent}
                    while heard:
                        heard.discard(gevent.line())
                    self.assertEqual(sender.end()[0], 0)
                self.assertEqual(gevent.end()[0], 0)


class echo_client(unittest.TestCase):
    def test_hears_its_own_texts(self):
        texts = ["ping", "two words", "", "x" * 100_000]
        for poller in POLLERS:
            with self.subTest(poller=poller), server("01_echo_server", poller) as echo:
                end = run("echo_client", str(echo.port), *texts, poller=poller)
                lines = [f"connected to 127.0.0.1:{echo.port}"]
                lines += [f"{text}: echoed after TIME ms" for text in texts]
                lines += ["the server has closed too", ""]
                heard = re.sub(r"after \d+\.\d ms", "after TIME ms", end.stdout)
                self.assertEqual((heard, end.stderr, end.returncode), ("\n".join(lines), "", 0))
                end = run("echo_client", str(echo.port), poller=poller)
                self.assertRegex(end.stdout, r"\nhello: echoed .*\nhello again: echoed .*\n")

    def answered_by(self, answer):
        """Runs it against a server that reads five bytes, says `answer`, and waits for the end."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve():
                with listener.accept()[0] as stream:
                    read_exactly(stream, 5)
                    stream.sendall(answer)
                    while stream.recv(100):
                        pass

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            end = run("echo_client", str(listener.getsockname()[1]), "hello")
            thread.join(PATIENCE)
        self.assertEqual(end.returncode, 1)
        return end.stderr

    def test_a_wrong_echo_is_said(self):
        self.assertEqual(
            self.answered_by(b"hallo"), "coro: main ended: read echo of hello: it is hallo\n"
        )
        self.assertEqual(
            self.answered_by(b"hello!"),
            "coro: main ended: read end of stream: the server says more than was sent\n",
        )

    def test_no_echo_is_said(self):
        before = time.monotonic()
        said = self.answered_by(b"")
        self.assertEqual(said, "coro: main ended: with_timeout: deadline exceeded\n")
        self.assertGreaterEqual(time.monotonic() - before, 5)


if __name__ == "__main__":
    must_be_built("gevent_server")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
