#!/usr/bin/env python3
# ctest: timeout=120 serial
"""Runs pool_demo: each way opens the connections that it says, and takes in virtual time what the
costs of the server say. The table, the bars and the picture have a row for each way."""
import pathlib
import re
import signal
import tempfile
import unittest
import xml.etree.ElementTree as xml

from support import POLLERS, must_be_built, run, started

WAYS = ["a connection each time", "one connection, in turn", "a pool of 1", "a pool of 4",
        "a pool of 16", "one shared, pipelined"]
HEADING = (r"way +opened +at once +refused +requests/s +mean ms +p99 ms +CPU us/req\.")
ROW = re.compile(r"(?P<way>\S.*?)  +(?P<opened>\d+) +(?P<at_once>\d+) +(?P<refused>\d+) +"
                 r"(?P<rate>\d+) +(?P<mean>[\d.]+) +(?P<p99>[\d.]+) +(?P<cpu>[\d.]+)")


def rows(printed):
    """{way: {column: number}} of the table."""
    lines = printed.splitlines()
    at = next(i for i, line in enumerate(lines) if re.fullmatch(HEADING, line))
    found = {}
    for line in lines[at + 1:lines.index("", at)]:
        match = ROW.fullmatch(line)
        found[match["way"]] = {name: float(value) for name, value in match.groupdict().items()
                               if name != "way"}
    return found


def bars(printed, heading):
    """{way: its figure}, in the order of the bars below the heading."""
    lines = printed.split(f"\n{heading}\n")[1].split("\n\n")[0].splitlines()
    return {match[1]: float(match[2])
            for match in (re.fullmatch(r"(\S.*?)  *#+ ([\d.]+)", line) for line in lines)}


class pool_demo(unittest.TestCase):
    def setUp(self):
        must_be_built("pool_demo")

    def table(self, *arguments, poller="simulation"):
        end = run("pool_demo", *arguments, poller=poller)
        self.assertEqual(end.returncode, 0, end.stderr)
        self.printed, self.said = end.stdout, end.stderr
        found = rows(end.stdout)
        self.assertEqual(list(found), WAYS)
        return found

    def test_in_virtual_time_each_way_costs_what_the_server_says(self):
        found = self.table("--service", "1", "--handshake", "2", "--tasks", "32")
        self.assertIn("32 tasks; a server with a greeting of 2 round trips and 2 ms, 1 ms for a "
                      "request, and at most 20 connections\n", self.printed)
        self.assertEqual(self.said, "")
        for way, most, rate in (("one connection, in turn", 1, 1000), ("a pool of 1", 1, 1000),
                                ("a pool of 4", 4, 4000), ("a pool of 16", 16, 16000),
                                ("one shared, pipelined", 1, 1000)):
            row = found[way]
            self.assertEqual((row["opened"], row["at_once"], row["refused"]), (most, most, 0), way)
            self.assertLessEqual(row["rate"], rate)
            self.assertGreater(row["rate"], 0.95 * rate, way)
            self.assertAlmostEqual(row["mean"], 32 * 1000 / rate, delta=1, msg=way)
        short = found["a connection each time"]
        self.assertEqual(short["at_once"], 20)
        self.assertGreater(short["refused"], 0)  # 32 tasks meet a limit of 20
        self.assertGreaterEqual(short["mean"], 3)  # 2 ms and 1 ms
        self.assertAlmostEqual(short["opened"], short["rate"], delta=40)
        self.assertEqual(list(bars(self.printed, "requests/s")), WAYS)
        self.assertEqual(bars(self.printed, "requests/s"),
                         {way: row["rate"] for way, row in found.items()})

    def test_the_limit_of_the_server_is_kept_and_met(self):
        found = self.table("--service", "1", "--limit", "2", "--seconds", "3")
        for way, row in found.items():
            self.assertLessEqual(row["at_once"], 2, way)
        self.assertGreater(found["a pool of 16"]["refused"], 0)
        self.assertAlmostEqual(found["a pool of 16"]["rate"], 2000, delta=100)
        self.assertIn("Connection refused", self.said)

    def test_a_dear_greeting_is_paid_by_each_connection(self):
        cheap = self.table("--handshake", "0", "--service", "1", "--tasks", "8")
        dear = self.table("--handshake", "9", "--service", "1", "--tasks", "8")
        self.assertAlmostEqual(cheap["a connection each time"]["mean"], 1, delta=0.1)
        self.assertAlmostEqual(dear["a connection each time"]["mean"], 10, delta=0.1)
        self.assertAlmostEqual(dear["a pool of 4"]["mean"], cheap["a pool of 4"]["mean"], delta=0.1)

    def test_on_sockets(self):
        for poller in POLLERS:
            with self.subTest(poller=poller):
                found = self.table("--seconds", "0.1", "--handshake", "0.5", poller=poller)
                for way, most in (("one connection, in turn", 1), ("a pool of 1", 1),
                                  ("a pool of 4", 4), ("a pool of 16", 16),
                                  ("one shared, pipelined", 1)):
                    self.assertLessEqual(found[way]["at_once"], most, way)
                self.assertLessEqual(found["a connection each time"]["at_once"], 20)
                for way, row in found.items():
                    self.assertGreater(row["rate"], 0, way)
                    self.assertGreater(row["cpu"], 0, way)
                    self.assertGreaterEqual(row["opened"], row["at_once"])
                    self.assertGreaterEqual(row["at_once"], 1)

    def test_the_picture_has_all_ways_and_needs_no_other_file(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "costs.svg"
            found = self.table("--service", "1", "--seconds", "0.1", "--svg", str(file))
            self.assertTrue(self.printed.endswith(f"\nThe picture is {file}\n"))
            svg = file.read_text(encoding="utf-8")
        self.assertNotRegex(svg, r"href|url\(|@import|<script|<image")
        self.assertIn("prefers-color-scheme: dark", svg)
        texts = [(each.get("class"), each.text)
                 for each in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        self.assertEqual([text for kind, text in texts if kind == "label"], WAYS)
        self.assertEqual([text for kind, text in texts if kind == "panel"],
                         ["requests/s; longer is better", "p99 latency, ms",
                          "CPU per request, µs"])
        figures = [float(text) for kind, text in texts if kind == "figure"]
        self.assertEqual(figures[:6], [row["rate"] for row in found.values()])
        self.assertEqual(figures[6:12], [row["p99"] for row in found.values()])
        self.assertEqual(figures[12:], [row["cpu"] for row in found.values()])

    def test_a_picture_that_cannot_be_written_is_said_before_the_work(self):
        end = run("pool_demo", "--svg", "/no/costs.svg")
        said = "coro: main ended: write /no/costs.svg: name a file that can be written\n"
        self.assertEqual((end.returncode, end.stdout, end.stderr), (1, "", said))

    def test_an_interrupt_ends_it(self):
        for poller in POLLERS:
            with self.subTest(poller=poller), started(
                "pool_demo", "--seconds", "60", poller=poller
            ) as demo:
                while not (line := demo.line()).startswith("way"):
                    self.assertTrue(line, "it has ended")
                code, printed, said = demo.end(signal.SIGINT)
                self.assertEqual((code, printed), (0, ""))
                # Its loops are cancelled one after the other: a server may meet a reset before.
                self.assertRegex(said, r"\A(coro: notice: recv .*: Connection reset by peer\n)*\Z")


if __name__ == "__main__":
    unittest.main()
