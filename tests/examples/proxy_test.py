#!/usr/bin/env python3
# ctest: timeout=120 serial
"""The proxy: both directions, half-close, what it holds, and targets that fail."""
import hashlib
import os
import queue
import re
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
    free_port,
    must_be_built,
    read_exactly,
    reset,
    run,
    server,
)


class target:
    """A server for the proxy: runs `serve(stream)` for one connection after the other."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            with stream:
                self.serve(stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A close alone leaves the thread in accept(2), on a descriptor whose number the next target
        # may get: it would serve the clients of that one.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_all(stream):
    data = b""
    while piece := stream.recv(1 << 16):
        data += piece
    return data


class proxy(unittest.TestCase):
    def open(self, poller, port):
        through = server("proxy", poller, str(port))
        self.assertEqual(through.line(), f"forwarding to 127.0.0.1:{port}\n")
        return through

    def assert_same(self, came, wanted):
        """Says where megabytes differ, and does not print them."""
        pairs = enumerate(zip(came, wanted))
        first = next((at for at, (one, other) in pairs if one != other), None)
        self.assertTrue(came == wanted, f"{len(came)} bytes of {len(wanted)}, the first that "
                        f"differs at {first}, they begin with {came[:20]}")

    def test_megabytes_both_ways_and_the_answer_after_the_half_close(self):
        there, back = os.urandom(2_000_000), os.urandom(1_500_000)

        def answer(stream):
            sender = threading.Thread(target=stream.sendall, args=(back,))
            sender.start()
            received = read_all(stream)  # to the end of the stream, which the proxy carries over
            sender.join()
            stream.sendall(hashlib.sha256(received).digest())

        for poller in POLLERS:
            with self.subTest(poller=poller), target(answer) as behind:
                with self.open(poller, behind.port) as through:
                    for _ in range(2):
                        with through.connect() as client:
                            sender = threading.Thread(
                                target=lambda: (
                                    client.sendall(there),
                                    client.shutdown(socket.SHUT_WR),
                                )
                            )
                            sender.start()
                            answered = read_all(client)
                            sender.join()
                            self.assert_same(answered, back + hashlib.sha256(there).digest())
                    self.assertEqual(through.end(), (0, "", ""))

    def test_a_half_close_of_the_target_leaves_the_other_direction(self):
        data = os.urandom(1_000_000)
        received = []
        done = threading.Event()

        def answer(stream):
            stream.sendall(b"no more from here")
            stream.shutdown(socket.SHUT_WR)
            received.append(read_all(stream))
            done.set()

        with target(answer) as behind, self.open("automatic", behind.port) as through:
            with through.connect() as client:
                self.assertEqual(read_all(client), b"no more from here")
                client.sendall(data)
            self.assertTrue(done.wait(PATIENCE))
            self.assert_same(received[0], data)
            self.assertEqual(through.end(), (0, "", ""))

    def test_who_does_not_read_holds_up_who_sends(self):
        def resident(process):
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1))

        for poller in POLLERS:
            closed = threading.Event()
            with self.subTest(poller=poller), target(lambda _: closed.wait()) as behind:
                with self.open(poller, behind.port) as through, through.connect() as client:
                    before = resident(through.process)
                    client.settimeout(1)
                    with self.assertRaises(TimeoutError):  # the buffers of the kernel have an end
                        client.sendall(bytes(100_000_000))
                    self.assertLess(resident(through.process) - before, 4096)
                    code, out, err = through.end()  # Ctrl-C, with bytes on the way
                    self.assertEqual((code, out), (0, ""))
                    self.assertRegex(err, rf"^coro: notice: serve {address(client)}: cancelled, "
                                          r"the drain is over: #\d+ .*\n$")
                closed.set()

    def test_without_a_target_the_client_is_told_and_the_next_one_is_served(self):
        port = free_port()
        with self.open("automatic", port) as through:
            with socket.socket() as early:
                early.settimeout(PATIENCE)
                early.bind(("127.0.0.1", 0))
                who = address(early)
                with self.assertRaises(ConnectionResetError):
                    early.connect(("127.0.0.1", through.port))
                    early.recv(1)
            with socket.create_server(("127.0.0.1", port)) as late, through.connect() as client:
                stream, _ = late.accept()
                with stream:
                    stream.sendall(b"here")
                    self.assertEqual(read_exactly(client, 4), b"here")
                    rude = address(client)
                    reset(client)  # goes on to the target
                    stream.settimeout(PATIENCE)
                    with self.assertRaises(ConnectionResetError):
                        stream.recv(1)
            said = (
                f"{who}: connect tcp 127.0.0.1:{port}: Connection refused\n"
                f"{rude}: recv {rude}: Connection reset by peer\n"
            )
            self.assertEqual(through.end(), (0, "", said))

    def test_a_reset_of_the_target_is_no_clean_end(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), socket.create_server(("127.0.0.1", 0)) as behind:
                port = behind.getsockname()[1]
                with self.open(poller, port) as through, through.connect() as client:
                    stream, _ = behind.accept()
                    stream.sendall(b"a part")
                    self.assertEqual(read_exactly(client, 6), b"a part")
                    who = address(client)
                    reset(stream)
                    client.settimeout(PATIENCE)
                    with self.assertRaises(ConnectionResetError):
                        client.recv(1)
                    said = f"{who}: recv 127.0.0.1:{port}: Connection reset by peer\n"
                    self.assertEqual(through.end(), (0, "", said))

    def test_a_reset_in_the_midst_of_a_download_reaches_the_client(self):
        def answer(stream):
            stream.sendall(bytes(3_000_000))
            reset(stream)

        for poller in POLLERS:
            with self.subTest(poller=poller), target(answer) as behind:
                with self.open(poller, behind.port) as through, through.connect() as client:
                    with self.assertRaises(ConnectionResetError):
                        read_all(client)
                    self.assertEqual(through.end()[:2], (0, ""))

    def test_a_reset_in_the_midst_of_an_upload_reaches_the_client(self):
        def answer(stream):
            read_exactly(stream, 100_000)
            reset(stream)

        for poller in POLLERS:
            with self.subTest(poller=poller), target(answer) as behind:
                with self.open(poller, behind.port) as through, through.connect() as client:
                    with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                        while True:
                            client.sendall(bytes(100_000))
                    self.assertEqual(through.end()[:2], (0, ""))

    def test_a_reset_of_the_client_reaches_the_target(self):
        met = queue.Queue()

        def download(stream):
            try:
                while True:
                    stream.sendall(bytes(100_000))
            except OSError as error:
                met.put(type(error))

        def upload(stream):
            try:
                met.put(read_all(stream))
            except OSError as error:
                met.put(type(error))

        for poller in POLLERS:
            for serve, errors in (
                (download, (ConnectionResetError, BrokenPipeError)),
                (upload, (ConnectionResetError,)),
            ):
                with self.subTest(poller=poller, serve=serve), target(serve) as behind:
                    with self.open(poller, behind.port) as through:
                        client = through.connect()
                        if serve is upload:
                            client.sendall(bytes(100_000))
                        else:
                            read_exactly(client, 100_000)
                        reset(client)
                        self.assertIn(met.get(timeout=PATIENCE), errors)
                        self.assertEqual(through.end()[:2], (0, ""))

    def test_a_stop_ends_who_is_silent_and_lets_answers_through(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), socket.create_server(("127.0.0.1", 0)) as behind:
                behind.settimeout(PATIENCE)
                with self.open(poller, behind.getsockname()[1]) as through:
                    silent = through.connect()
                    beside = behind.accept()[0]
                    busy = through.connect()
                    stream = behind.accept()[0]
                    busy.sendall(b"a request")
                    self.assertEqual(read_exactly(stream, 9), b"a request")
                    through.process.send_signal(signal.SIGINT)
                    # The end of what clients say, and not of the connection.
                    for each in (beside, stream):
                        each.settimeout(PATIENCE)
                        self.assertEqual(each.recv(1), b"")
                    stream.sendall(b"an answer")
                    stream.close()
                    beside.close()
                    self.assertEqual(read_all(busy), b"an answer")
                    self.assertEqual(read_all(silent), b"")
                    busy.close()
                    silent.close()
                    self.assertEqual(through.wait(), (0, "", ""))

    def test_with_a_foreign_client(self):
        for name in FOREIGN:
            with self.subTest(client=name):
                self.talk_to(name)

    def talk_to(self, name):
        with server("01_echo_server", "automatic") as echo:
            with self.open("automatic", echo.port) as through:
                client = foreign_client(name, through.port)
                client.stdin.write("there and back\n")
                client.stdin.flush()
                self.assertEqual(client.stdout.readline(), "there and back\n")
                client.kill()
                client.communicate()
                self.assertEqual(through.end(), (0, "", ""))
            self.assertEqual(echo.end(), (0, "", ""))


if __name__ == "__main__":
    must_be_built("proxy")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
