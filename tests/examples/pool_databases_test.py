#!/usr/bin/env python3
# ctest: timeout=120
"""pool_demo against a real Redis and a real PostgreSQL: all ways answer, and the table says how
many connections the server has seen."""
import unittest

from databases import ends_without, postgres, redis
from pool_demo_test import WAYS, rows
from support import POLLERS, run

POOLS = {"one connection, in turn": 1, "a pool of 1": 1, "a pool of 4": 4, "a pool of 16": 16}


class databases(unittest.TestCase):
    def compare(self, poller, *words):
        end = run("pool_demo", "--seconds", "0.2", "--tasks", "20", *words, poller=poller)
        self.assertEqual((end.returncode, end.stderr), (0, ""), end.stdout)
        found = rows(end.stdout)
        for way, row in found.items():
            self.assertGreater(row["rate"], 0, way)
            self.assertEqual(row["refused"], 0, way)
        for way, most in POOLS.items():
            self.assertLessEqual(found[way]["opened"], most, way)
        self.assertGreaterEqual(found["a connection each time"]["opened"], 20)
        return end.stdout.splitlines()[0], found

    def test_redis(self):
        with redis() as real:
            for poller in POLLERS:
                before = int(dict(line.split(":") for line in real.ask("INFO", "stats").splitlines()
                                  if ":" in line)["total_connections_received"])
                title, found = self.compare(poller, "--redis", f"127.0.0.1:{real.port}")
                self.assertEqual(title, "20 tasks; Redis")
                self.assertEqual(list(found), WAYS)
                after = int(dict(line.split(":") for line in real.ask("INFO", "stats").splitlines()
                                 if ":" in line)["total_connections_received"])
                opened = sum(int(row["opened"]) for row in found.values())
                # A pool that ends may leave two connects that the server has seen already.
                self.assertLessEqual(opened, after - before - 1)
                self.assertLessEqual(after - before - 1, opened + 2 * len(POOLS))

    def test_postgres(self):
        with postgres() as real:
            for poller in POLLERS:
                title, found = self.compare(poller, "--postgres", " ".join(real.words()))
                self.assertEqual(title, "20 tasks; PostgreSQL")
                self.assertEqual(list(found), WAYS[:-1])

    def test_a_server_that_is_not_there_is_named(self):
        end = run("pool_demo", "--seconds", "0.1", "--redis", "127.0.0.1:1")
        self.assertEqual(end.returncode, 1)
        self.assertEqual(end.stderr, "coro: main ended: a connection each time: no request was "
                                     "answered: connect tcp 127.0.0.1:1: Connection refused\n")
        end = run("pool_demo", "--redis", "localhost:6379")
        self.assertEqual(end.returncode, 2)
        self.assertIn('read --redis "localhost:6379": parse address', end.stderr)


if __name__ == "__main__":
    ends_without("redis_pool", "redis-server")
    ends_without("postgres_pool", "postgres", "initdb")
    unittest.main()
