#!/usr/bin/env python3
# ctest: timeout=120 serial
"""The classic programs but chat and proxy, with foreign clients: what they print and carry, and how
they end."""
import re
import signal
import socket
import threading
import time
import unittest

from support import (
    FOREIGN,
    PATIENCE,
    POLLERS,
    ROOT,
    address,
    foreign_client,
    free_port,
    must_be_built,
    read_exactly,
    reset,
    run,
    server,
    started,
    text_of,
)

NUMBERS = [str(number) for number in range(101)]


class every(unittest.TestCase):
    maxDiff = None

    def test_says_how_to_run_it_and_is_in_the_table(self):
        table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.cpp\) \| \S.* \|$", table, re.MULTILINE)
        found = {path.stem for path in (ROOT / "examples").glob("*.cpp")}
        self.assertEqual(sorted(name for name, _ in rows), sorted(found))
        for name, file in rows:
            self.assertEqual(name, file)
            self.assertRegex(text_of(name), r"// Run:   build/(debug|release)/examples/")
            self.assertRegex(text_of(name), r"\A(//.*\n)+// See:   \S")
            self.assertRegex(text_of(name), f"build/(debug|release)/examples/{name}\\b")

    def test_refuses_bad_arguments(self):
        usages = {
            "gevent_server": "[PORT] [--fibers]",
            "random_sender": "[PORT]",
            "echo_client": "[PORT] [TEXT]...",
            "chat": "[PORT]",
            "proxy": "LISTEN_PORT TARGET_PORT",
            "shared_connection_demo": "[PORT] [--speed FACTOR]",
            "pool_demo": "[--tasks N] [--seconds S] [--handshake MS] [--round-trips N] "
                         "[--service MS] [--limit N] [--redis ADDRESS:PORT] "
                         "[--postgres CONNINFO] [--svg FILE]",
            "idle_reaper": "[PORT] [--idle S] [--first S] [--header S] [--per-address N]",
        }
        option = 'read the options "--loud": there is no such option'
        listening = 'read PORT "70000": it must be a number from 0 to 65535'
        connecting = 'read PORT "0": it must be a number from 1 to 65535'
        speed = "it must be a number from 0.001 to 1000"
        must = "it must be a number from 1 to 65535"
        wrong = [
            ("gevent_server", ["--loud"], option),
            ("gevent_server", ["70000"], listening),
            ("gevent_server", ["-1"], 'read the options "-1": there is no such option'),
            ("gevent_server", ["0", "0"], 'read the arguments "0": it is one too many'),
            ("random_sender", ["--loud"], option),
            ("random_sender", ["0"], connecting),
            ("echo_client", ["0"], connecting),
            ("echo_client", ["echo"], 'read PORT "echo": it must be a number from 1 to 65535'),
            ("chat", ["70000"], listening),
            ("chat", ["8x"], 'read PORT "8x": it must be a number from 0 to 65535'),
            ("proxy", [], "read LISTEN_PORT: it is missing; it must be a number from 0 to 65535"),
            ("proxy", ["0"], f"read TARGET_PORT: it is missing; {must}"),
            ("proxy", ["0", "0"], 'read TARGET_PORT "0": it must be a number from 1 to 65535'),
            ("idle_reaper", ["70000"], listening),
            ("idle_reaper", ["--loud"], option),
            ("idle_reaper", ["--idle", "0"],
             'read --idle "0": it must be a number from 0.001 to 86400'),
            ("idle_reaper", ["--per-address", "0"],
             'read --per-address "0": it must be a whole number from 1 to 1000000'),
            ("pool_demo", ["--redis", "127.0.0.1:1", "--limit", "4"],
             'read --limit "4": it is for the server of the program, not for a database'),
            ("pool_demo", ["--redis", "127.0.0.1:1", "--postgres", "dbname=x"],
             'read --postgres "dbname=x": --redis names a server already'),
            ("shared_connection_demo", ["70000"], listening),
            ("shared_connection_demo", ["--loud"], option),
            ("shared_connection_demo", ["--speed"],
             f"read --speed: it is missing; {speed}"),
            *[
                ("shared_connection_demo", ["--speed", bad], f'read --speed "{bad}": {speed}')
                for bad in ["fast", "0", "1e-9", "-1", "nan", "inf", "1e9", "10x", " 1"]
            ],
            *[
                ("pool_demo", ["--tasks", bad],
                 f'read --tasks "{bad}": it must be a whole number from 1 to 500')
                for bad in ["some", "0", "501", "2.5", "-1", "1e2"]
            ],
            ("pool_demo", ["--limit"],
             "read --limit: it is missing; it must be a whole number from 1 to 1000"),
            ("pool_demo", ["--handshake", "-1"],
             'read --handshake "-1": it must be a number from 0 to 1000'),
            ("pool_demo", ["--svg"], "read --svg: it is missing; it must be a file to write"),
            ("pool_demo", ["--loud"], option),
            ("pool_demo", ["5"], 'read the arguments "5": it is one too many'),
        ]  # fmt: skip
        for name, arguments, sentence in wrong:
            with self.subTest(name=name, arguments=arguments):
                end = run(name, *arguments)
                said = f"{name}: {sentence}\nusage: {name} {usages[name]}\n"
                self.assertEqual((end.returncode, end.stdout, end.stderr), (2, "", said))
        for name, usage in usages.items():
            end = run(name, "--help")
            said = f"usage: {name} {usage}\n"
            self.assertEqual((end.returncode, end.stdout, end.stderr), (0, said, ""))

    def test_a_port_that_is_taken_is_said(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for command in (
                ["gevent_server", port],
                ["chat", port],
                ["proxy", port, "1"],
                ["idle_reaper", port],
                ["shared_connection_demo", port],
            ):
                end = run(*command)
                said = f"coro: main ended: bind tcp 127.0.0.1:{port}: Address already in use\n"
                self.assertEqual((end.returncode, end.stderr), (1, said), command)


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
                    one.sendall(b"\x1b[31mred\x07, \xc2\x9b1m, \xc4\x9b")
                    self.assertEqual(gevent.line(), f"{first} - .[31mred., ..1m, ě\n")
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
                self.assertEqual(gevent.end(), (0, f"{second} was disconnected\n", ""))
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
                said = f"coro: notice: recv {who}: Connection reset by peer\n"
                code, _, err = gevent.end()
                self.assertEqual((code, err), (0, said))

    def test_a_stop_ends_who_is_silent_without_the_drain(self):
        for poller in POLLERS:
            for form in self.FORMS:
                with self.subTest(poller=poller, form=form):
                    with server("gevent_server", poller, *form) as gevent:
                        silent = [gevent.connect() for _ in range(3)]
                        said = {f"{address(each)} was disconnected" for each in silent}
                        for _ in silent:
                            gevent.line()
                        code, out, err = gevent.end()
                        self.assertEqual((code, err), (0, ""))
                        # A handler that the drain's end cancels does not say it.
                        self.assertEqual(set(out.splitlines()), said)
                        for each in silent:
                            with each:
                                self.assertEqual(each.recv(1), b"")

    def test_with_a_foreign_client(self):
        for name in FOREIGN:
            with self.subTest(client=name):
                self.talk_to(name)

    def talk_to(self, name):
        with server("gevent_server", "automatic") as gevent:
            client = foreign_client(name, gevent.port)
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

    def test_an_interrupt_ends_it(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            for poller in POLLERS:
                with started("echo_client", str(port), poller=poller) as client:
                    self.assertEqual(client.line(), f"connected to 127.0.0.1:{port}\n")
                    self.assertEqual(client.end(), (0, "", ""))

    def test_no_echo_is_said(self):
        before = time.monotonic()
        said = self.answered_by(b"")
        self.assertEqual(said, "coro: main ended: with_timeout of 5 s at echo_client.cpp:46: "
                         "deadline exceeded\n")
        self.assertGreaterEqual(time.monotonic() - before, 5)


IN_VIRTUAL_TIME = """\
== three tasks share connection A: they are served one after another
listening 127.0.0.1:8086
[connection A]    [send] 00:00:00 - A123
[127.0.0.1:32768] [recv] 00:00:00 - A123
[connection A]    [echo] 00:00:00 - A123
[connection A]    [send] 00:00:01 - A456
[connection B]    [send] 00:00:01 - B456
[127.0.0.1:32768] [recv] 00:00:01 - A456
[127.0.0.1:32769] [recv] 00:00:01 - B456
[connection B]    [echo] 00:00:01 - B456
[connection A]    [send] 00:00:02 - A789
[127.0.0.1:32768] [recv] 00:00:04 - A789
[connection A]    [echo] 00:00:04 - A456
[connection A]    [echo] 00:00:04 - A789

seconds              0         1         2         3         4
---------------------+---------+---------+---------+---------+
connection A   A123  []        |         |         |         |
               A456  |         [#############################]
               A789  |         |         [...................]
---------------------+---------+---------+---------+---------+
connection B   B456  |         []        |         |         |
---------------------+---------+---------+---------+---------+
[ sent   . waits for its turn   # is being served   ] answered

== each task has a connection of its own: nobody waits for another
listening 127.0.0.1:8086
[connection 1]    [send] 00:00:00 - A123
[127.0.0.1:32768] [recv] 00:00:00 - A123
[connection 1]    [echo] 00:00:00 - A123
[connection 2]    [send] 00:00:01 - A456
[connection 3]    [send] 00:00:01 - B456
[127.0.0.1:32769] [recv] 00:00:01 - A456
[127.0.0.1:32770] [recv] 00:00:01 - B456
[connection 3]    [echo] 00:00:01 - B456
[connection 4]    [send] 00:00:02 - A789
[127.0.0.1:32771] [recv] 00:00:02 - A789
[connection 4]    [echo] 00:00:02 - A789
[connection 2]    [echo] 00:00:04 - A456

seconds              0         1         2         3         4
---------------------+---------+---------+---------+---------+
connection 1   A123  []        |         |         |         |
---------------------+---------+---------+---------+---------+
connection 2   A456  |         [#############################]
---------------------+---------+---------+---------+---------+
connection 3   B456  |         []        |         |         |
---------------------+---------+---------+---------+---------+
connection 4   A789  |         |         []        |         |
---------------------+---------+---------+---------+---------+
[ sent   . waits for its turn   # is being served   ] answered

"""


class idle_reaper(unittest.TestCase):
    # What the client sends, and then waits. Each limit is met however busy the machine is.
    ENDS = [
        (["--first", "0.5"], b"", "no byte at first"),
        (["--first", "60", "--header", "0.5"], b"half a li", "an unfinished line"),
        (["--first", "60", "--idle", "0.5"], b"", "silence"),
    ]

    def test_says_why_it_puts_a_client_out(self):
        for poller in POLLERS:
            for limits, send, why in self.ENDS:
                with self.subTest(poller=poller, why=why):
                    self.ends(poller, limits, send, why)

    def ends(self, poller, limits, send, why):
        with server("idle_reaper", poller, *limits) as reaper, reaper.connect() as client:
            who = address(client)
            self.assertEqual(reaper.line(), f"{who} connected\n")
            client.sendall(send)
            self.assertEqual(client.recv(1), b"")  # the server has ended it
            self.assertEqual(reaper.line(), f"{who} ended: {why}\n")
            said = f"1 served, 0 turned away\n1 ended: {why}\n"
            self.assertEqual(reaper.end(), (0, said, ""))

    def test_answers_lines_until_the_client_leaves(self):
        with server("idle_reaper", "automatic", "--first", "60") as reaper:
            with reaper.connect() as client:
                who = address(client)
                self.assertEqual(reaper.line(), f"{who} connected\n")
                client.sendall(b"a line\n\nanother\n")
                self.assertEqual(read_exactly(client, 16), b"a line\n\nanother\n")
            self.assertEqual(reaper.line(), f"{who} ended: by its client\n")
            self.assertEqual(reaper.end(), (0, "1 served, 0 turned away\n", ""))

    def test_one_client_too_many_is_told(self):
        limits = ["--first", "60", "--per-address", "2"]
        with server("idle_reaper", "automatic", *limits) as reaper:
            with reaper.connect() as one, reaper.connect() as two:
                for client in (one, two):
                    self.assertEqual(reaper.line(), f"{address(client)} connected\n")
                    client.sendall(b"hi\n")
                    self.assertEqual(read_exactly(client, 3), b"hi\n")
                with reaper.connect() as three:
                    told = b"your address has enough connections\n"
                    self.assertEqual(read_exactly(three, len(told)), told)
                    self.assertEqual(three.recv(1), b"")
            ends = {reaper.line(), reaper.line()}
            self.assertEqual({end.split(": ", 1)[1] for end in ends}, {"by its client\n"})
            code, said, _ = reaper.end()
            self.assertEqual((code, said), (0, "2 served, 1 turned away\n"))


class shared_connection_demo(unittest.TestCase):
    maxDiff = None

    def test_order_and_times_are_exact_in_virtual_time(self):
        for arguments in ([], ["--speed", "10"], ["--speed", "0.001"]):
            end = run("shared_connection_demo", *arguments, poller="simulation")
            self.assertEqual((end.stdout, end.stderr, end.returncode), (IN_VIRTUAL_TIME, "", 0))

    def test_order_in_real_time(self):
        for poller in POLLERS:
            with self.subTest(poller=poller):
                before = time.monotonic()
                end = run("shared_connection_demo", "0", "--speed", "5", poller=poller)
                self.assertGreaterEqual(time.monotonic() - before, 2 * 4 / 5)
                self.assertEqual((end.stderr, end.returncode), ("", 0))
                runs = end.stdout.split("== ")[1:]
                answers = [
                    re.findall(r"^\[(\S+ \S+)\] +\[echo\] 00:00:(\d\d) - (.*)$", log, re.MULTILINE)
                    for log in runs
                ]
                shared = [("A", 0, "A123"), ("B", 1, "B456"), ("A", 4, "A456"), ("A", 4, "A789")]
                alone = [("1", 0, "A123"), ("3", 1, "B456"), ("4", 2, "A789"), ("2", 4, "A456")]
                for answered, wanted in zip(answers, (shared, alone), strict=True):
                    self.assertEqual(
                        [(who, text) for who, _, text in answered],
                        [(f"connection {who}", text) for who, _, text in wanted],
                    )
                    for (_, second, _), (_, least, _) in zip(answered, wanted):
                        self.assertGreaterEqual(int(second), least)

    def test_an_interrupt_ends_the_program_and_not_only_the_first_run(self):
        for poller in POLLERS:
            with started("shared_connection_demo", "0", poller=poller) as demo:
                while "[echo]" not in demo.line():
                    pass
                code, out, err = demo.end()
                self.assertEqual((code, err), (0, ""))
                self.assertNotIn("==", out)

    def test_a_stranger_is_served_too(self):
        with started("shared_connection_demo", "0", "--speed", "5") as demo:
            demo.line()
            port = int(demo.line().rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stranger:
                message = b"\0\0\0\5hello"
                stranger.sendall(message)
                self.assertEqual(read_exactly(stranger, len(message)), message)
            code, _, err = demo.wait()
            self.assertEqual((code, err), (0, ""))


if __name__ == "__main__":
    must_be_built("shared_connection_demo")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
