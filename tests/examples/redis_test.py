#!/usr/bin/env python3
# ctest: timeout=120
"""redis_pool against a real redis-server: pooled and shared connections; a server that is killed,
connections that it kills, callers that leave. Nobody gets the reply of somebody else."""
import contextlib
import signal
import socket
import threading
import time
import unittest

from databases import at_once, client, clients_of, ends_without, in_each, redis, until
from support import POLLERS, run, server

MODES = {"pooled": ["--max", "3"], "shared": ["--shared"]}
AT_MOST = {"pooled": 3, "shared": 1}
WAYS = [(poller, mode) for poller in POLLERS for mode in MODES]


class fake:
    """A server that answers the PING of a greeting, and then every command with `reply`."""

    def __init__(self, reply, piece=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.reply, self.piece = reply, piece or len(reply)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self.listener.accept()
                with stream:
                    self.talk(stream)

    def talk(self, stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while asked := stream.recv(1 << 16):
            if b"PING" in asked:
                stream.sendall(b"+PONG\r\n")
                continue
            with contextlib.suppress(OSError):  # it has been given up in the midst
                for at in range(0, len(self.reply), self.piece):
                    stream.sendall(self.reply[at:at + self.piece])
                    time.sleep(0.001)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class redis_pool(unittest.TestCase):
    maxDiff = None

    def open(self, poller, mode, port, timeout="100", loops="1"):
        return server("redis_pool", poller, str(port), *MODES[mode], "--timeout", timeout,
                      "--loops", loops)  # fmt: skip

    def assert_ends_well(self, example):
        """It ends with 0, and stderr has only what the pool says of a server that was down."""
        status, out, err = example.end()
        self.assertEqual((status, out), (0, ""))
        for line in err.splitlines():
            self.assertRegex(line, r"^coro: (error|info): connect ")

    def answers_again(self, caller, line):
        """Asks until the example has found the server again; the answer."""
        answers = []
        until("no error any more", lambda: not (
            answers.append(caller.ask(line)) or answers[-1].startswith("error: ")))
        return answers[-1]

    def hold_up_writes(self, of, callers, key):
        """INCR of each caller is at the server and not answered; the ids of the connections."""
        self.assertEqual(of.ask("CLIENT", "PAUSE", "600000", "WRITE"), "OK")
        for each in callers:
            each.send(f"INCR {key}")
        size = len(f"*2\r\n$4\r\nINCR\r\n${len(key)}\r\n{key}\r\n")

        def held():
            return [each for each in of.clients() if "b" in each["flags"]]

        until("the requests are at the server", lambda: len(callers) == sum(
            1 + int(each["qbuf"]) // size for each in held()))
        return [each["id"] for each in held()]

    @in_each([(*way, loops) for way in WAYS for loops in "13"])
    def test_each_caller_gets_its_own_reply(self, poller, mode, loops):
        with redis() as real, self.open(poller, mode, real.port, loops=loops) as example:
            with clients_of(example, 20) as callers:
                def talk(caller, number):
                    counted = []
                    for turn in range(20):
                        token = f"{number} {turn}"
                        self.assertEqual(caller.ask(f"ECHO {token}"), token)
                        self.assertEqual(caller.ask(f"SET key{number} {token}"), "OK")
                        self.assertEqual(caller.ask(f"GET key{number}"), token)
                        counted.append(int(caller.ask("INCR all")))
                    return counted

                counted = at_once(callers, talk)
                self.assertEqual([each for each in counted if not isinstance(each, list)], [])
                self.assertEqual(sorted(sum(counted, [])), list(range(1, 401)))
                self.assertLessEqual(len(real.clients()), AT_MOST[mode])
                ask = callers[0].ask
                self.assertEqual(ask("GET nothing"), "(nil)")
                self.assertEqual(ask("DEL all"), "1")
                self.assertEqual(ask(f"SET large {'x' * 200_000}"), "OK")
                self.assertEqual(ask("GET large"), "x" * 200_000)
            self.assert_ends_well(example)

    @in_each(WAYS)
    def test_what_redis_refuses_costs_no_connection(self, poller, mode):
        with redis() as real, self.open(poller, mode, real.port) as example:
            with client(example) as caller:
                self.assertEqual(caller.ask("SET text word"), "OK")
                before = [each["id"] for each in real.clients()]
                self.assertEqual(caller.ask("INCR text"), "error: redis: ERR value is not an "
                                                          "integer or out of range")
                self.assertEqual(caller.ask("GET"), "error: redis: ERR wrong number of "
                                                    "arguments for 'get' command")
                self.assertTrue(caller.ask("MULTI").startswith("error: say: SET KEY VALUE"))
                self.assertEqual(caller.ask("GET text"), "word")
                self.assertEqual([each["id"] for each in real.clients()], before)
            self.assert_ends_well(example)

    @in_each(WAYS)
    def test_killed_in_mid_exchange_and_started_again(self, poller, mode):
        with redis() as real, self.open(poller, mode, real.port) as example:
            with clients_of(example, 3) as callers:
                self.hold_up_writes(real, callers, "n")
                real.end(signal.SIGKILL)
                for each in callers:
                    self.assertRegex(each.receive(), rf"^error: \w+ .*127\.0\.0\.1:{real.port}: "
                                                     r"(the peer ended|Connection reset)")
                self.assertEqual(callers[0].ask("GET n"), "error: connect tcp 127.0.0.1:"
                                                          f"{real.port}: Connection refused")
                real.start()
                for number, each in enumerate(callers):
                    self.assertEqual(self.answers_again(each, f"ECHO {number}"), str(number))
                self.assertEqual(callers[0].ask("INCR n"), "1")
            self.assert_ends_well(example)

    @in_each([(poller,) for poller in POLLERS])
    def test_a_pooled_connection_that_is_killed_fails_its_caller_alone(self, poller):
        with redis() as real, self.open(poller, "pooled", real.port) as example:
            with clients_of(example, 3) as callers:
                held = self.hold_up_writes(real, callers, "n")
                self.assertEqual(real.ask("CLIENT", "KILL", "ID", held[0]), "1")
                real.ask("CLIENT", "UNPAUSE")
                got = [each.receive() for each in callers]
                failed = [each for each in got if each.startswith("error: ")]
                self.assertEqual(len(failed), 1, got)
                self.assertIn(f"127.0.0.1:{real.port}: ", failed[0])
                self.assertEqual(sorted(set(got) - set(failed)), ["1", "2"])
                for number, each in enumerate(callers):
                    self.assertEqual(each.ask(f"ECHO {number}"), str(number))
            self.assert_ends_well(example)

    @in_each([(poller,) for poller in POLLERS])
    def test_a_shared_connection_that_is_killed_fails_those_whose_requests_were_sent(self, poller):
        with redis() as real, self.open(poller, "shared", real.port) as example:
            with clients_of(example, 5) as callers:
                held = self.hold_up_writes(real, callers, "n")
                self.assertEqual(real.ask("CLIENT", "KILL", "ID", held[0]), "1")
                for each in callers:
                    self.assertRegex(each.receive(), rf"^error: .*127\.0\.0\.1:{real.port}")
                real.ask("CLIENT", "UNPAUSE")
                for number, each in enumerate(callers):
                    self.assertEqual(self.answers_again(each, f"ECHO {number}"), str(number))
            self.assert_ends_well(example)

    @in_each(WAYS)
    def test_one_that_was_killed_while_idle_is_no_error(self, poller, mode):
        with redis() as real, self.open(poller, mode, real.port) as example:
            with client(example) as caller:
                for number in range(3):
                    self.assertEqual(caller.ask(f"ECHO {number}"), str(number))
                    real.ask("CLIENT", "KILL", "TYPE", "normal")
                    until("it is gone", lambda: not real.clients())
                    time.sleep(0.01)  # what was used within the last millisecond is not asked
                self.assertEqual(caller.ask("ECHO more"), "more")
            self.assert_ends_well(example)

    @in_each(WAYS)
    def test_the_reply_of_who_has_left_goes_to_nobody(self, poller, mode):
        with redis() as real, self.open(poller, mode, real.port, "0.2") as example:
            with clients_of(example, 3) as callers:
                self.assertEqual(self.answers_again(callers[0], "SET n 40"), "OK")
                self.assertEqual(real.ask("CLIENT", "PAUSE", "600000", "WRITE"), "OK")
                for each in callers:
                    each.send("INCR n")
                for each in callers:
                    self.assertRegex(each.receive(), r"^error: with_timeout.*deadline")
                real.ask("CLIENT", "UNPAUSE")
                for turn in range(5):
                    for number, each in enumerate(callers):
                        token = f"{number} {turn}"
                        self.assertEqual(self.answers_again(each, f"ECHO {token}"), token)
            self.assert_ends_well(example)

    @in_each(WAYS)
    def test_a_server_that_is_down_at_the_start_is_named_with_the_cause(self, poller, mode):
        real = redis()
        with self.open(poller, mode, real.port) as example:
            with client(example) as caller:
                for _ in range(5):
                    self.assertEqual(caller.ask("GET a"), "error: connect tcp 127.0.0.1:"
                                                          f"{real.port}: Connection refused")
                with real:
                    self.assertEqual(self.answers_again(caller, "INCR a"), "1")
            self.assert_ends_well(example)

    def test_what_redis_says_to_the_greeting_is_the_error_of_the_connect(self):
        with redis() as real, self.open("automatic", "pooled", real.port) as example:
            self.assertEqual(real.ask("CONFIG", "SET", "requirepass", "secret"), "OK")
            with client(example) as caller:
                self.assertEqual(caller.ask("GET a"), f"error: greet 127.0.0.1:{real.port}: "
                                                      "NOAUTH Authentication required.")
            self.assertEqual(example.end()[0], 0)

    def test_replies_in_pieces_and_replies_that_are_none(self):
        array = b"*2147483647\r\n"
        nested = b"*1000\r\n*1048577\r\n"
        for mode in MODES:
            for reply, wanted in {
                b"$12\r\nin\x01\r\npieces!\r\n": "in...pieces!",
                b"+fine\r\n": "fine",
                b":-5\r\n": "-5",
                b"$-1\r\n": "(nil)",
                b"$0\r\n\r\n": "",
                b"SSH-2.0\r\n": "Protocol error",
                b"$99999999999999999999\r\n": "limit exceeded",
                b"$18446744073709551600\r\n": "limit exceeded",
                b"$99999999999\r\n": "limit exceeded",
                b"$x\r\nxx": "ad bulk string length",
                array: "limit exceeded",
                nested: "limit exceeded",
            }.items():
                with self.subTest(mode=mode, reply=reply), fake(reply, piece=1) as peer:
                    with self.open("automatic", mode, peer.port) as example:
                        with client(example) as caller:
                            said = caller.ask("GET a")
                            if said.startswith("error: "):
                                self.assertIn(wanted, said)
                                if mode == "pooled":
                                    self.assertIn(f"127.0.0.1:{peer.port}", said)
                            else:
                                self.assertEqual(said, wanted)
                        self.assertEqual(example.end()[0], 0)

    def test_says_how_it_is_called(self):
        usage = ("usage: redis_pool [PORT] [REDIS_PORT] [--max N] [--timeout SECONDS] "
                 "[--loops N] [--shared]\n")  # fmt: skip
        asked = run("redis_pool", "--help")
        self.assertEqual((asked.returncode, asked.stdout, asked.stderr), (0, usage, ""))
        for wrong, why in {
            ("--max", "0"): 'read --max "0": it must be a number from 1 to 1000',
            ("8089", "0"): 'read REDIS_PORT "0": it must be a number from 1 to 65535',
            ("--loud",): 'read the options "--loud": there is no such option',
        }.items():
            refused = run("redis_pool", *wrong)
            self.assertEqual((refused.returncode, refused.stderr),
                             (2, f"redis_pool: {why}\n{usage}"))  # fmt: skip


if __name__ == "__main__":
    ends_without("redis_pool", "redis-server")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
