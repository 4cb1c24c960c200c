#!/usr/bin/env python3
# ctest: timeout=120 serial
"""The chat, with foreign clients: what it carries, whom it puts out, and how it ends."""
import signal
import socket
import threading
import unittest

from support import (
    FOREIGN,
    PATIENCE,
    POLLERS,
    address,
    foreign_client,
    must_be_built,
    read_exactly,
    server,
)


class guest:
    """A client of chat."""

    def __init__(self, room, name):
        self.stream = room.connect()
        self.lines = self.stream.makefile("r", newline="\n", encoding="utf-8")
        self.hears("* your name, please")
        self.say(name)

    def say(self, text):
        self.stream.sendall((text + "\n").encode())

    def hears(self, line):
        heard = self.lines.readline()
        assert heard == line + "\n", f"{heard!r} instead of {line!r}"

    def leave(self):
        self.lines.close()
        self.stream.close()


class chat(unittest.TestCase):
    maxDiff = None

    def test_carries_lines_and_says_who_comes_and_goes(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), server("chat", poller) as room:
                ann = guest(room, "ann")
                ann.hears("* welcome, ann; others here: 0")
                bob = guest(room, "bob\r")
                bob.hears("* welcome, bob; others here: 1")
                ann.hears("* bob joined")
                bob.say("hello")
                ann.hears("bob: hello")
                second = guest(room, "ann")  # the name is taken
                second.hears("* welcome, ann_; others here: 2")
                bob.hears("* ann_ joined")
                ann.hears("* ann_ joined")
                second.say("\x1b[2Jgrüße")
                ann.hears("ann_: .[2Jgrüße")
                bob.hears("ann_: .[2Jgrüße")
                second.stream.shutdown(socket.SHUT_WR)
                self.assertEqual(second.lines.read(), "")  # nobody hears himself
                second.leave()
                ann.hears("* ann_ left")
                bob.hears("* ann_ left")
                long = guest(room, "n" * 30)
                long.hears("* welcome, " + "n" * 20 + "; others here: 2")
                long.say("x" * 2000)
                ann.hears("* " + "n" * 20 + " joined")
                ann.hears("* " + "n" * 20 + " left")
                who = address(long.stream)
                long.leave()
                with room.connect() as scanner:  # comes, and goes without a name
                    self.assertEqual(read_exactly(scanner, 20), b"* your name, please\n")
                code, out, err = room.end()
                self.assertEqual(code, 0)
                wanted = "ann joined|bob joined|ann_ joined|ann_ left|N joined|N left"
                self.assertEqual(
                    out.split("\n")[:6],
                    ["* " + news.replace("N", "n" * 20) for news in wanted.split("|")],
                )
                self.assertEqual(err, f"coro: error: read_line {who}: limit exceeded\n")
                self.assertEqual(ann.lines.read(), "")
                ann.leave()
                bob.leave()

    def test_a_stop_delivers_what_was_said_and_ends_who_is_silent(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), server("chat", poller) as room:
                ann = guest(room, "ann")
                ann.hears("* welcome, ann; others here: 0")
                bob = guest(room, "bob")
                bob.hears("* welcome, bob; others here: 1")
                ann.hears("* bob joined")
                with room.connect() as nameless:
                    self.assertEqual(read_exactly(nameless, 20), b"* your name, please\n")
                    code, _, err = room.end()
                    self.assertEqual((code, err), (0, ""))
                    self.assertEqual(nameless.recv(1), b"")
                # The last one hears that the other has left. Nobody does whom the end of the drain
                # cancels: the writer goes with the reader.
                rest = {ann.lines.read(), bob.lines.read()}
                self.assertIn(rest, ({"", "* ann left\n"}, {"", "* bob left\n"}))
                ann.leave()
                bob.leave()

    def test_one_that_never_reads_is_put_out_and_nobody_misses_a_line(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), server("chat", poller) as room:
                self.pour(room)

    def pour(self, room):
        ann, bob = guest(room, "ann"), guest(room, "bob")
        sloth = socket.socket()
        sloth.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sloth.connect(("127.0.0.1", room.port))
        sloth.sendall(b"sloth\n")
        for line in ("welcome, ann; others here: 0", "bob joined", "sloth joined"):
            ann.hears("* " + line)
        for line in ("welcome, bob; others here: 1", "sloth joined"):
            bob.hears("* " + line)

        heard = []

        def listen():
            for line in bob.lines:
                heard.append(line)
                if line == "ann: the end\n":
                    return

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        news = []
        reader = threading.Thread(target=lambda: news.append(ann.lines.readline()), daemon=True)
        reader.start()
        said = []
        while reader.is_alive() and len(said) < 100_000:  # 100 MB: no kernel buffers so much
            line = f"{len(said)} ".ljust(1000, "x")
            said.append(f"ann: {line}\n")
            ann.say(line)
        ann.say("the end")
        reader.join(PATIENCE)
        listener.join(PATIENCE)
        self.assertEqual(news, ["* sloth left: too slow\n"])
        self.assertEqual(heard.count(news[0]), 1)
        heard.remove(news[0])
        self.assertEqual(len(heard), len(said) + 1)
        self.assertTrue(heard == [*said, "ann: the end\n"])  # no diff of megabytes
        bob.say("it was long")
        ann.hears("bob: it was long")
        sloth.settimeout(PATIENCE)
        try:
            while sloth.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass
        sloth.close()
        code, out, err = room.end()
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(
            out.split("\n")[:4],
            ["* ann joined", "* bob joined", "* sloth joined", "* sloth left: too slow"],
        )
        ann.leave()
        bob.leave()

    def test_with_a_foreign_client(self):
        for name in FOREIGN:
            with self.subTest(client=name):
                self.talk_to(name)

    def talk_to(self, name):
        with server("chat", "automatic") as room:
            client = foreign_client(name, room.port)
            self.assertEqual(client.stdout.readline(), "* your name, please\n")
            client.stdin.write("nick\n")
            client.stdin.flush()
            self.assertEqual(client.stdout.readline(), "* welcome, nick; others here: 0\n")
            ann = guest(room, "ann")
            self.assertEqual(client.stdout.readline(), "* ann joined\n")
            ann.hears("* welcome, ann; others here: 1")
            ann.say("hello")
            self.assertEqual(client.stdout.readline(), "ann: hello\n")
            client.stdin.write("hello yourself\n")
            client.stdin.flush()
            ann.hears("nick: hello yourself")
            client.kill()
            client.communicate()
            ann.hears("* nick left")
            ann.leave()
            self.assertEqual(room.end()[0], 0)


if __name__ == "__main__":
    must_be_built("chat")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
