#!/usr/bin/env python3
# ctest: timeout=120
"""postgres_pool against a real PostgreSQL: sessions that are ended, queries that are cut, a server
that is restarted; and never more sessions than max_size."""
import contextlib
import os
import re
import signal
import threading
import time
import unittest

from databases import (
    admin,
    at_once,
    client,
    clients_of,
    ends_without,
    in_each,
    most_sessions,
    postgres,
    until,
)
from support import POLLERS, free_port, run, server

WAYS = [(poller,) for poller in POLLERS]
ASLEEP = "state = 'active' and query like 'select pg_sleep(%'"


def rows(caller):
    """The lines of the next answer: rows and how many they are, or an error."""
    lines = []
    while not lines or not re.search(r"^error: |^\d+ rows?$|^$", lines[-1]):
        lines.append(caller.receive())
    return lines


def ask(caller, sql):
    caller.send(sql)
    return rows(caller)


class postgres_pool(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        """One server for all, and in it a database for each poller."""
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)  # also when what follows fails
        cls.real = cls.stack.enter_context(postgres())
        cls.admin = cls.stack.enter_context(admin(cls.real))
        for poller in POLLERS:
            cls.admin.ask(f"create database {poller}")

    def open(self, poller, *options, **words):
        if "--timeout" not in options:
            options += ("--timeout", "100")
        return server("postgres_pool", poller, *options, *self.real.words(dbname=poller, **words))

    def sessions(self, poller, more="true"):
        return self.admin.sessions(f"datname = '{poller}' and {more}")

    def sleep(self, poller, callers):
        """Each of them waits in a query; the processes that serve all that wait."""
        before = len(self.sessions(poller, ASLEEP))
        for each in callers:
            each.send("select pg_sleep(600)")
        until("the queries run", lambda: len(
            self.sessions(poller, ASLEEP)) == before + len(callers))
        return self.sessions(poller, ASLEEP)

    def terminate(self, process):
        self.assertEqual(self.admin.ask(f"select pg_terminate_backend({process})"), ["t"])
        until("it has ended", lambda: process not in self.admin.sessions())

    def killed(self):
        return (f"error: query postgres 127.0.0.1:{self.real.port}: FATAL: terminating connection "
                "due to administrator command (57P01)")  # fmt: skip

    @in_each(WAYS)
    def test_each_caller_gets_its_own_rows_and_the_server_sees_few_sessions(self, poller):
        with self.open(poller, "--max", "3", "--loops", "2") as example:
            with most_sessions(self.real, poller) as counted, clients_of(example, 15) as callers:
                def talk(caller, number):
                    for turn in range(10):
                        token = f"{number}-{turn}"
                        self.assertEqual(ask(caller, f"select '{token}', null, pg_sleep(0.005)"),
                                         [f"{token} | NULL | ", "1 row"])
                    self.assertEqual(ask(caller, "select n from generate_series(1, 3) n"),
                                     ["1", "2", "3", "3 rows"])

                self.assertEqual(at_once(callers, talk), [None] * 15)
            self.assertIn(counted.most, (2, 3))  # a slow machine may not see three together
            self.assertEqual(example.end(), (0, "", ""))
        until("all sessions are over", lambda: self.sessions(poller) == [])

    @in_each(WAYS)
    def test_a_session_that_is_ended_in_mid_query_fails_its_caller_alone(self, poller):
        with self.open(poller, "--max", "3") as example, clients_of(example, 3) as callers:
            first, second, other = callers
            one = self.sleep(poller, [first])[0]
            two = (set(self.sleep(poller, [second])) - {one}).pop()
            self.assertEqual(ask(other, "select 'before'"), ["before", "1 row"])
            self.terminate(one)
            self.assertEqual(rows(first), [self.killed()])
            self.assertEqual(ask(first, "select 'again'"), ["again", "1 row"])
            self.assertEqual(ask(other, "select 'after'"), ["after", "1 row"])
            self.assertEqual(self.sessions(poller, ASLEEP), [two])
            self.terminate(two)
            self.assertEqual(rows(second), [self.killed()])
            self.assertEqual(example.end(), (0, "", ""))

    @in_each(WAYS)
    def test_a_query_whose_time_is_over_is_stopped_at_the_server_too(self, poller):
        with self.open(poller, "--max", "1", "--timeout", "1") as example:
            with client(example) as caller:
                until("it answers", lambda: ask(caller, "select 1") == ["1", "1 row"])
                before = self.sessions(poller)
                self.assertRegex(ask(caller, "select pg_sleep(600)")[0],
                                 "^error: with_timeout of 1 s at .*: deadline exceeded$")
                until("nobody is asleep", lambda: self.sessions(poller, ASLEEP) == [])
                until("it answers", lambda: ask(caller, "select 2") == ["2", "1 row"])
                self.assertNotEqual(self.sessions(poller), before)
            self.assertEqual(example.end()[:2], (0, ""))

    @in_each(WAYS)
    def test_never_more_sessions_than_max_size_whatever_ends_them(self, poller):
        """Queries that are cut, sessions that are ended, transactions that are left open."""
        with self.open(poller, "--max", "3", "--timeout", "0.4", "--loops", "3") as example:
            with most_sessions(self.real, poller) as counted, clients_of(example, 10) as callers:
                over = threading.Event()

                def end_some():
                    while not over.wait(0.2):
                        self.admin.ask("select pg_terminate_backend(pid) from pg_stat_activity "
                                       f"where datname = '{poller}' limit 1")  # fmt: skip

                def talk(caller, number):
                    kinds = ["select pg_sleep(600)", "begin", "select 1 / 0"]
                    for turn in range(6):
                        ask(caller, kinds[(number + turn) % len(kinds)])
                        token = f"{number}-{turn}"
                        got = ask(caller, f"select '{token}'")
                        if not got[0].startswith("error: "):  # it was ended, or its time was over
                            self.assertEqual(got, [token, "1 row"])

                ending = threading.Thread(target=end_some)
                ending.start()
                ended = at_once(callers, talk)
                over.set()
                ending.join()
                self.assertEqual(ended, [None] * 10)
                until("it answers", lambda: ask(callers[0], "select 3") == ["3", "1 row"])
            self.assertIn(counted.most, (1, 2, 3))  # a slow machine may not see them together
            status, out, _ = example.end()
            self.assertEqual((status, out), (0, ""))

    @in_each(WAYS)
    def test_the_next_session_begins_when_the_last_one_is_over(self, poller):
        """Its process is stopped, so it neither obeys the cancellation nor sees that its client has
        gone. A new session would be the second one where one is the most."""
        while not self.waits_for_the_end_of_a_session(poller):
            pass  # the machine was too slow to tell

    @staticmethod
    def send_all(processes, what):
        """Whether all were there."""
        try:
            for process in processes:
                os.kill(int(process), what)
        except ProcessLookupError:
            return False
        return True

    def waits_for_the_end_of_a_session(self, poller):
        limit, clean_up, patience = 0.5, 2, 3  # seconds: of --timeout, and in the example's headers
        options = ["--max", "1", "--timeout", str(limit)]
        with self.open(poller, *options) as example, client(example) as caller:
            with most_sessions(self.real, poller) as counted:
                begin = time.monotonic()
                caller.send("select pg_sleep(600)")
                until("the query runs or its time is over", lambda: self.sessions(poller, ASLEEP) or
                      time.monotonic() > begin + limit)
                asleep = self.sessions(poller, ASLEEP)
                if not self.send_all(asleep, signal.SIGSTOP):
                    return False  # it has ended meanwhile
                try:
                    cut = rows(caller)[0]
                    closed_after = begin + limit + clean_up
                    said = ask(caller, "select 'too early'")[0]
                    in_time = time.monotonic() < closed_after + patience
                finally:
                    self.send_all(asleep, signal.SIGCONT)
            until("it answers", lambda: ask(caller, "select 'now'")[0] == "now")
            self.assertEqual(example.end()[:2], (0, ""))
        self.assertRegex(cut, "^error: with_timeout")
        if not asleep or not in_time:
            return False
        self.assertRegex(said, "^error: with_timeout")
        self.assertEqual(counted.most, 1)
        return True

    @in_each(WAYS)
    def test_what_the_server_refuses_costs_no_session(self, poller):
        with self.open(poller, "--max", "1") as example, client(example) as caller:
            peer = f"error: query postgres 127.0.0.1:{self.real.port}: "
            before = ask(caller, "select pg_backend_pid()")
            self.assertEqual(ask(caller, "select 1 / 0"),
                             [peer + "ERROR: division by zero (22012)"])
            self.assertEqual(ask(caller, "selec"),
                             [peer + 'ERROR: syntax error at or near "selec" (42601)'])
            self.assertEqual(ask(caller, ""), ["0 rows"])
            self.assertEqual(ask(caller, "select pg_backend_pid()"), before)
            self.assertEqual(ask(caller, f"select length('{'x' * 200_000}')"), ["200000", "1 row"])
            self.assertEqual(ask(caller, "select 'a' || E'\\n\\x1b' || 'b'"), ["a..b", "1 row"])
            time.sleep(0.6)  # it is validated then, and stays
            self.assertEqual(ask(caller, "select pg_backend_pid()"), before)
            self.assertEqual(example.end(), (0, "", ""))

    @in_each(WAYS)
    def test_a_query_that_the_socket_cannot_take_waits_until_it_can(self, poller):
        """The process of the server is stopped, and its socket holds less than the query."""
        with self.open(poller, "--max", "1", host=self.real.place) as example:
            with client(example) as caller:
                process = int(ask(caller, "select pg_backend_pid()")[0])
                os.kill(process, signal.SIGSTOP)
                try:
                    caller.send(f"select length('{'x' * 250_000}')")
                    time.sleep(0.1)
                finally:
                    os.kill(process, signal.SIGCONT)
                self.assertEqual(rows(caller), ["250000", "1 row"])
            self.assertEqual(example.end(), (0, "", ""))

    @in_each(WAYS)
    def test_a_session_that_is_not_as_it_was_is_lent_to_nobody(self, poller):
        with self.open(poller, "--max", "1") as example, client(example) as caller:
            for spoils, wanted in {
                "begin": "0 rows",
                "copy pg_class to stdout": "COPY needs more than a query",
                "copy pg_class from stdin": "COPY needs more than a query",
            }.items():
                before = ask(caller, "select pg_backend_pid()")
                self.assertIn(wanted, ask(caller, spoils)[-1])
                self.assertNotEqual(ask(caller, "select pg_backend_pid()"), before)
            self.assertEqual(example.end(), (0, "", ""))

    @in_each(WAYS)
    def test_a_session_that_is_ended_while_idle_is_no_error(self, poller):
        with self.open(poller, "--max", "1") as example, client(example) as caller:
            for _ in range(3):
                process = ask(caller, "select pg_backend_pid()")[0]
                self.terminate(process)
                time.sleep(0.01)  # what was used within the last millisecond is not asked
            self.assertEqual(ask(caller, "select 'still here'"), ["still here", "1 row"])
            self.assertEqual(example.end(), (0, "", ""))

    def test_the_server_is_killed_and_started_again(self):
        with self.open("epoll") as example, clients_of(example, 2) as callers:
            self.sleep("epoll", callers)
            self.real.end()
            for each in callers:
                self.assertIn(f"postgres 127.0.0.1:{self.real.port}: ", rows(each)[0])
            self.real.start()
            type(self).admin = self.stack.enter_context(admin(self.real))
            until("it answers", lambda: ask(callers[0], "select 1") == ["1", "1 row"])
            self.assertEqual(ask(callers[1], "select 2"), ["2", "1 row"])
            self.assertEqual(example.end()[:2], (0, ""))

    def test_connects_to_the_second_host_and_over_every_kind_of_socket(self):
        """libpq changes its socket meanwhile: for another host, and for one that must be a standby
        if there is one, once more."""
        live = self.real.port
        for words in (
            {"host": "127.0.0.1,127.0.0.1", "port": f"{free_port()},{live}"},
            {"host": f"/nowhere,127.0.0.1,{self.real.place}", "port": live},
            {"host": "127.0.0.1,localhost", "port": live, "target_session_attrs": "prefer-standby"},
            {"host": self.real.place},
            {"host": "localhost", "sslmode": "prefer"},
        ):
            for poller in POLLERS:
                with self.subTest(words=words, poller=poller):
                    with self.open(poller, **words) as example, client(example) as caller:
                        self.assertEqual(ask(caller, "select 42"), ["42", "1 row"])
                        self.assertEqual(example.end(), (0, "", ""))

    def test_who_leaves_during_a_connect_leaves_nothing(self):
        """The server does not answer the greeting: it is stopped."""
        with self.open("epoll", "--timeout", "0.2") as example, client(example) as caller:
            self.real.process.send_signal(signal.SIGSTOP)
            try:
                self.assertRegex(ask(caller, "select 1")[0], "^error: with_timeout .*exceeded$")
            finally:
                self.real.process.send_signal(signal.SIGCONT)
            until("it answers", lambda: ask(caller, "select 2") == ["2", "1 row"])
            self.assertEqual(example.end()[:2], (0, ""))
            until("all sessions are over", lambda: self.sessions("epoll") == [])

    @in_each([
        ({"port": 1}, r'127.0.0.1:1: .*port 1 failed: Connection refused'),
        ({"user": "nobody"}, r'127.0.0.1:\d+: .*FATAL: +role "nobody" does not exist'),
        # No resolver is asked for this one.
        ({"host": "a..b"}, r"a\.\.b:.* could not translate host name"),
    ])
    def test_what_hinders_a_connect_is_named(self, words, why):
        with self.open("epoll", **words) as example:
            with client(example) as caller:
                self.assertRegex(ask(caller, "select 1")[0], f"^error: connect postgres {why}")
            self.assertEqual(example.end()[:2], (0, ""))


class command_line(unittest.TestCase):
    def test_says_how_it_is_called(self):
        usage = ("usage: postgres_pool [PORT] [--max N] [--timeout SECONDS] [--loops N] "
                 "[KEYWORD=VALUE]...\n")  # fmt: skip
        asked = run("postgres_pool", "--help")
        self.assertEqual((asked.returncode, asked.stdout, asked.stderr), (0, usage, ""))
        for wrong, why in {
            ("8090", "--max", "x"): 'read --max "x": it must be a number from 1 to 1000',
            ("8090", "--loud"): 'read the options "--loud": there is no such option',
        }.items():
            refused = run("postgres_pool", *wrong)
            self.assertEqual((refused.returncode, refused.stderr),
                             (2, f"postgres_pool: {why}\n{usage}"))  # fmt: skip
        refused = run("postgres_pool", "8090", "hots=127.0.0.1")
        self.assertEqual((refused.returncode, refused.stderr), (
            2, 'postgres_pool: read "hots=127.0.0.1": invalid connection option "hots"\n'))


if __name__ == "__main__":
    ends_without("postgres_pool", "postgres", "initdb", "psql", "pg_isready")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
