#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""The report of scripts/perf from fixed samples: every row is there, the figures are those of the
samples, what loses and what failed is said, and nothing is claimed that the samples do not show."""
import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "perf"))
import arena  # noqa: E402
import bars  # noqa: E402
import charts  # noqa: E402
import page as pages  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
from models import LOADS, MODELS  # noqa: E402
from results import digest  # noqa: E402

MACHINE = {"processor": "A <Processor>", "processors": 2, "kernel": "6.1", "compiler": "g++ 12",
           "flags": "-O2", "commit": "abc1234", "date": "2026-01-01 00:00 UTC", "server_cpu": 0,
           "load_cpu": 1, "load_average_before": 0.0, "load_average_after": 0.5}
NAMES = [model.name for model in MODELS]
MAIN = [load for load in LOADS if load.is_main]
COSTS = dict.fromkeys(NAMES, 5.0) | {
    "threads": 8.0, "raw epoll": 4.0, "raw io_uring": 3.9, "coroutine, epoll": 4.0,
    "coroutine, io_uring": 3.6, "fiber, epoll": 4.8, "fiber, io_uring": 4.4}
# A machine that changes its speed: the absolute figures vary by half, the ratios by a hundredth.
SPEED = [1.0, 1.5, 1.1, 1.3, 1.0, 1.2]
WOBBLE = [0.99, 1.0, 1.01, 1.0, 0.995, 1.005]


def samples(cost, rounds=6):
    wobble = [1.0] * len(SPEED) if cost == 4.0 else WOBBLE
    each = [(SPEED[i % len(SPEED)], wobble[i % len(SPEED)]) for i in range(rounds)]
    return [{"server_cpu_us_per_message": cost * slower * more,
             "messages_per_second": 100_000 / cost / slower, "p50_us": 50.0, "p99_us": 900.0,
             "fairness": {"jain": 0.875, "least": 30, "most": 40},
             "server_busy_percent": 40.0, "generator_busy_percent": 40.0} for slower, more in each]


def raw(costs=None, rounds=6, failures=None, quick=True, refusals=None, loads=MAIN):
    """What measuring leaves; `failures` and `refusals` hold for the load with 64 connections."""
    costs = COSTS | (costs or {})
    cells = []
    for load in loads:
        hit = load.name == "64x64"
        cells.append({"load": load.name, "failures": (failures or {}) if hit else {},
                      "refusals": (refusals or {}) if hit else {},
                      "runs": {name: samples(costs[name], rounds) for name in NAMES}})
    return {"machine": MACHINE, "models": [model._asdict() for model in MODELS], "cells": cells,
            "loads": [load._asdict() for load in loads],
            "plan": {**arena.plan_of(quick, False), "rounds": rounds, "full": False,
                     "seed": 7, "idle": [1000, 1000]},
            "memory": {"samples": {name: [100.0 * costs[name]] * 3 for name in NAMES},
                       "kernel": {name: [] for name in NAMES}, "failures": {}, "refusals": {}},
            "took_seconds": 12.0}


def results(*arguments, **more):
    return digest(raw(*arguments, **more))


def load_of(found, name):
    return next(each for each in found["results"] if each["name"] == name)


def heads(found):
    return [each["head"] for each in found["sentences"]]


class rows_of_tables(html.parser.HTMLParser):
    """[(class, text)] of every row, and what the page would fetch."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.fetched, self.open = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "link", "img", "iframe") or "src" in given or "href" in given:
            self.fetched.append((tag, given))
        if tag == "tr":
            self.rows.append([given.get("class", ""), ""])
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag != "tr"

    def handle_data(self, data):
        if self.open:
            self.rows[-1][1] += data + " "

    def of(self, name):
        return [(kind, words) for kind, words in self.rows if words.startswith(name + " ")]


class page(unittest.TestCase):
    def test_every_server_has_a_row_under_every_load_and_a_bar_in_every_chart(self):
        text = pages.html(results())
        parts = rows_of_tables(text)
        for name in NAMES:  # the idle ones, and the second table of the ranking
            self.assertEqual(len(parts.of(name)), len(MAIN) + 2, name)
        bars = [drawn for drawn in re.findall(r"<svg.*?</svg>", text) if "<rect" in drawn]
        self.assertEqual(len(bars), 1 + 2 * len(MAIN) + 1)
        for drawn in bars[1:]:
            self.assertEqual(drawn.count('class="whisker"'), len(NAMES))
            self.assertEqual(drawn.count("<rect"), len(NAMES))

    def test_it_needs_no_other_file(self):
        text = pages.html(results())
        self.assertEqual(rows_of_tables(text).fetched, [])
        self.assertNotRegex(text, r"url\(|@import|https?:")
        self.assertIn("prefers-color-scheme: dark", text)

    def test_what_comes_from_outside_is_escaped(self):
        text = pages.html(results(failures={"fiber, epoll": "it said <b>no</b>"}))
        self.assertIn("A &lt;Processor&gt;", text)
        self.assertIn("it said &lt;b&gt;no&lt;/b&gt;", text)

    def test_figures_are_the_medians_of_the_samples_with_their_spread(self):
        row = load_of(results(), "64x64")["rows"]["threads"]
        self.assertAlmostEqual(row["ratio"], 2.0, delta=0.01)
        self.assertAlmostEqual(row["interval"][0], 2 * 0.99)
        self.assertAlmostEqual(row["interval"][1], 2 * 1.01)
        _, words = rows_of_tables(pages.html(results())).of("threads")[1]
        self.assertIn("2.000 1.980 to 2.020", " ".join(words.split()))
        self.assertIn("9.27 7.92 to 12.00", " ".join(words.split()))

    def test_rows_that_lose_are_there_and_say_so(self):
        found = results()
        parts = rows_of_tables(pages.html(found))
        for name, verdict in (("threads", "more"), ("fiber, epoll", "more"),
                              ("coroutine, epoll", "same"), ("coroutine, io_uring", "less")):
            kind, words = parts.of(name)[1]
            self.assertEqual(kind, verdict, name)
            self.assertIn(report.VERDICTS[verdict], words)
        self.assertIn("fiber, epoll with 1 connection (1.200 times", found["sentences"][-1]["rest"])
        self.assertIn("fiber, epoll", report.text(found))
        self.assertIn("costs more", report.text(found))

    def test_the_machine_and_the_way_are_named(self):
        text = pages.html(results(quick=True))
        for fact in ("6.1", "g++ 12", "-O2", "abc1234", "2026-01-01", "6 rounds of 0.25 s"):
            self.assertIn(fact, text)
        self.assertIn("A quick look", text)
        self.assertNotIn("A quick look", pages.html(results(quick=False)))
        self.assertNotIn("before the first round", text)
        self.assertIn("about one in twenty is expected to err", text)
        busy = raw()
        busy["machine"] = MACHINE | {"load_average_before": 3.0}
        self.assertIn("The load average was 3.0 before the first round, from the build or from "
                      "other programs.", pages.html(digest(busy)))


class failures(unittest.TestCase):
    def test_a_server_that_failed_keeps_its_row_and_says_why(self):
        found = results(failures={"raw io_uring": "start it: not permitted"})
        kind, words = rows_of_tables(pages.html(found)).of("raw io_uring")[2]
        self.assertEqual(kind, "failed")
        self.assertIn("start it: not permitted", words)
        self.assertIn('class="failed" x=', pages.html(found))
        self.assertIn("raw io_uring FAILED: start it: not permitted", report.text(found))
        self.assertEqual(report.failed_contenders(found), ["raw io_uring"])
        self.assertEqual(report.failed_contenders(results()), [])

    def test_samples_before_the_failure_are_not_shown_as_figures(self):
        found = results(failures={"threads": "it ended"})
        self.assertNotIn("threads", load_of(found, "64x64")["rows"])
        self.assertIn("Nothing can be said with 64 connections", heads(found))

    def test_without_the_measure_there_are_figures_and_no_ratios(self):
        found = results(failures={"raw epoll": "it ended"})
        row = load_of(found, "64x64")["rows"]["threads"]
        self.assertIsNone(row["ratio"])
        self.assertEqual(row["verdict"], "alone")
        self.assertIn("raw epoll failed, so there are no ratios", pages.html(found))
        self.assertIn("Threads lose with 64 connections", heads(found))

    def test_all_may_fail(self):
        found = results(failures=dict.fromkeys(NAMES, "no"))
        self.assertEqual(pages.html(found).count(">failed: "), len(NAMES))
        self.assertEqual(report.failed_contenders(found), NAMES)

    def test_memory_that_was_not_measured_is_no_zero(self):
        samples_without = raw()
        samples_without["memory"]["samples"]["threads"] = []
        samples_without["memory"]["failures"] = {"threads": "it ended"}
        found = digest(samples_without)
        self.assertNotIn("threads", found["idle"])
        self.assertIn("threads failed: it ended", pages.html(found))
        self.assertIn("Nothing can be said with idle connections", heads(found))


class refusals(unittest.TestCase):
    """A server that says that its model cannot serve a load has not failed."""

    def setUp(self):
        self.found = results(refusals={"select": "serve descriptor 1024: <none>"})

    def test_the_cell_says_why_and_nothing_failed(self):
        kind, words = rows_of_tables(pages.html(self.found)).of("select")[2]
        self.assertEqual(kind, "refused")
        self.assertIn("cannot: serve descriptor 1024: <none>", words)
        self.assertIn("select CANNOT: serve descriptor 1024: <none>", report.text(self.found))
        self.assertEqual(report.failed_contenders(self.found), [])
        self.assertNotIn("select", load_of(self.found, "64x64")["rows"])

    def test_the_ranking_shows_it_where_it_is(self):
        row = next(row for row in self.found["ranking"]["rows"] if row["name"] == "select")
        self.assertEqual([isinstance(cell, float) for cell in row["cells"]],
                         [True, False, True, True])
        self.assertEqual(row["cells"][1], "cannot")

    def test_one_that_cannot_serve_the_load_of_the_ranking_comes_last_and_says_why(self):
        ranked = results(refusals={"raw io_uring": "its end"},
                         loads=[load for load in LOADS if load.name == "64x64"])["ranking"]
        self.assertEqual(ranked["rows"][-1]["name"], "raw io_uring")
        self.assertEqual(ranked["rows"][-1]["cause"], "It cannot: its end.")
        self.assertIsNone(ranked["rows"][-1]["ratio"])

    def test_the_curve_has_a_gap(self):
        line = next(line for line in self.found["curve"]["lines"] if line["name"] == "select")
        self.assertEqual([value is None for value in line["values"]], [False, True, False])


class ranking(unittest.TestCase):
    def test_the_cheapest_is_first_and_the_cause_fits_what_was_seen(self):
        rows = results()["ranking"]["rows"]
        ratios = [row["ratio"] for row in rows]
        self.assertEqual(ratios, sorted(ratios))
        self.assertEqual(rows[0]["name"], "coroutine, io_uring")
        self.assertEqual(rows[-1]["name"], "threads")
        by_name = {model.name: model for model in MODELS}
        for row in rows:
            cause = by_name[row["name"]].causes.get(row["verdict"])
            self.assertEqual(row["cause"].lower(), f"{cause.lower()}." if cause else "")

    def test_every_model_has_a_cause_for_every_verdict(self):
        for model in MODELS:
            self.assertEqual(set(model.causes), {"base"} if model.name == "raw epoll" else
                             {"more", "same", "less"}, model.name)

    def test_too_few_rounds_have_no_cause(self):
        for row in results(rounds=3)["ranking"]["rows"]:
            self.assertEqual(row["cause"] != "", row["name"] == "raw epoll")

    def test_a_load_of_latency_is_ranked_by_latency(self):
        loads = [load for load in LOADS if load.measure == "p99_us"]
        text = pages.html(results(loads=loads))
        self.assertIn("By its 99th percentile", text)
        self.assertIn("p99 ratio", text)
        self.assertIn("p99 ratio", report.text(results(loads=loads)))

    def test_samples_without_cpu_time_are_no_zero(self):
        found = raw(loads=[load for load in LOADS if load.name == "slow"])
        for each in found["cells"][0]["runs"].values():
            for sample in each:
                sample["server_cpu_us_per_message"] = None
        seen = digest(found)
        self.assertIsNone(seen["results"][0]["rows"]["threads"]["cpu_us_per_message"])
        self.assertIn("none", rows_of_tables(pages.html(seen)).of("threads")[1][1])


class what_a_table_says(unittest.TestCase):
    def test_a_generator_at_its_limit_is_marked(self):
        found = raw()
        self.assertNotIn("at its limit", pages.html(digest(found)))
        for sample in found["cells"][1]["runs"]["select"]:
            sample["generator_busy_percent"] = 97.0
        seen = digest(found)
        self.assertIn("40 / 97 the generator is at its limit", " ".join(
            rows_of_tables(pages.html(seen)).of("select")[2][1].split()))
        self.assertEqual(report.text(seen).count("40 / 97 (the generator is at its limit)"), 1)

    def test_two_loops_have_fairness_and_threads_as_their_measure(self):
        found = results(loads=[load for load in LOADS if load.loops > 1])
        (load,) = found["results"]
        self.assertEqual(load["rows"]["threads"]["verdict"], "base")
        self.assertIn(report.FAIRNESS, report.text(found))
        self.assertIn("0.875 (0.75)", report.text(found))
        self.assertIn("CPU time per message, threads = 1,", pages.html(found))
        self.assertIsNone(found["ranking"])
        self.assertNotIn(report.FAIRNESS, report.text(results()))

    def test_columns_that_are_not_of_cpu_time_say_so_and_have_no_cause_of_it(self):
        names = ("1000x64", "slow", "one-free")
        found = results(loads=[load for load in LOADS if load.name in names])
        self.assertEqual(found["ranking"]["loads"],
                         ["1000x64", "one-free (messages/s)", "slow (p99)"])
        latency = results(loads=[load for load in LOADS if load.name == "slow"])["ranking"]
        self.assertEqual({row["cause"] for row in latency["rows"]}, {""})

    def test_more_messages_per_second_are_better(self):
        found = results(loads=[load for load in LOADS if load.name == "one-free"])
        self.assertEqual(found["ranking"]["rows"][0]["name"], "coroutine, io_uring")
        kind, words = rows_of_tables(pages.html(found)).of("coroutine, io_uring")[1]
        self.assertEqual(kind, "less")  # the class of what is good
        self.assertIn("answers more", words)


class bars_of_the_arena(unittest.TestCase):
    def test_met_missed_and_open(self):
        for said, ratio, interval, pairs in (
                ("met", 1.03, (1.02, 1.05), 15), ("met", 0.9, (0.8, 1.0), 15),
                ("missed", 1.04, (1.01, 1.05), 15),  # the median
                ("missed", 1.03, (1.021, 1.05), 15),  # the interval
                ("open", 1.0, (0.9, 1.1), 14), ("missed", 1.2, (1.1, 1.3), 6),
                ("open", 1.2, None, 3)):
            self.assertEqual(bars.judge(ratio, interval, pairs, 1.02), said, (ratio, interval))
        self.assertEqual(bars.judge(1.0, (0.9, 1.1), 15, 0), "none")
        for said, ratio, interval in (("met", 2.39, (2.0, 2.4)), ("missed", 2.38, (2.0, 2.5)),
                                      ("missed", 2.395, (2.0, 2.39)), ("met", 3.0, (2.5, 3.5))):
            self.assertEqual(bars.judge(ratio, interval, 15, 2.4, True), said, (ratio, interval))

    def line(self, found, load, name, beside):
        return next(line for line in found["bars"] if (line["load"], line["name"], line["beside"])
                    == (load, name, beside))

    def test_the_ratio_is_that_to_the_raw_loop_on_the_same_poller(self):
        found = results({"coroutine, io_uring": 3.9}, rounds=15)
        line = self.line(found, "64x64", "coroutine, io_uring", "raw io_uring")
        self.assertEqual((line["ratio"], line["bar"], line["said"]), (1.0, 1.02, "met"))
        line = self.line(found, "64x64", "fiber, epoll", "raw epoll")
        self.assertAlmostEqual(line["ratio"], 1.2, delta=0.01)
        self.assertEqual((line["bar"], line["said"]), (1.05, "missed"))
        line = self.line(found, "1x64", "coroutine, io_uring", "coroutine, epoll")
        self.assertEqual((line["bar"], line["said"]), (1.03, "met"))
        text = report.text(found)
        self.assertRegex(text, r"64x64 +fiber, epoll +raw epoll +1\.200 .*15 pairs\) +at most 1.05 "
                               r"+MISSED")
        self.assertIn("Beside the raw loop on the same poller: ", pages.html(found))

    def test_a_quick_look_meets_none(self):
        said = {line["said"] for line in results(rounds=6)["bars"]}
        self.assertEqual(said, {"open", "missed"})

    def test_the_better_poller_stands_beside_each_peer(self):
        found = raw(rounds=15)
        found["models"].append({**MODELS[0]._asdict(), "name": "libx", "family": "peer"})
        for cells in found["cells"]:
            cells["runs"]["libx"] = samples(3.0, 15)
        found["memory"]["kernel"]["libx"] = []
        line = self.line(digest(found), "64x64", "coroutine, io_uring", "libx")
        self.assertAlmostEqual(line["ratio"], 1.2)
        self.assertEqual((line["group"], line["bar"], line["said"]), ("peer", 1.0, "missed"))

    def test_one_busy_connection_is_held_to_raw_epoll_on_both_pollers(self):
        loads = [load for load in LOADS if load.name == "one-free"]
        found = results({"coroutine, epoll": 1.0, "coroutine, io_uring": 2.0}, rounds=15,
                        loads=loads)
        self.assertEqual([(line["said"], line["beside"]) for line in found["bars"]
                          if line["name"] in ("coroutine, epoll", "coroutine, io_uring")],
                         [("met", "raw epoll"), ("missed", "raw epoll")])

    def test_what_failed_is_compared_with_nothing(self):
        found = results(failures={"raw io_uring": "no"}, rounds=15)
        self.assertFalse([line for line in found["bars"] if line["load"] == "64x64"
                          and line["beside"] == "raw io_uring"])

    def test_every_load_with_a_bar_has_the_rounds_that_it_takes(self):
        self.assertGreaterEqual(arena.plan_of(False, False)["rounds"], bars.LEAST_PAIRS)
        with_bar = {load.name for load in LOADS if load.bar > 0}
        self.assertLessEqual({"1x64", "64x64", "1000x64", "16000x64", "64x64x16", "64x16K",
                              "64x64K", "64x64-short", "one-free"}, with_bar)


class curve(unittest.TestCase):
    def test_it_has_a_line_for_each_model_and_a_dot_for_each_load(self):
        loads = [load for load in LOADS if load.is_curve]
        text = pages.html(results(loads=loads))
        lines = [drawn for drawn in re.findall(r"<svg.*?</svg>", text) if "curve" in drawn]
        self.assertEqual(len(lines), 2)  # the classic models; coro beside two of them
        beside = 2
        dots = sum(drawn.count("<circle") for drawn in lines)
        self.assertEqual(dots, (len(MODELS) + beside) * len(loads))
        for point in ("1", "256", "1 k", "16 k"):
            self.assertIn(f">{point}</text>", lines[0])
        self.assertNotIn(">10 k</text>", lines[0])  # it would lie on the last one

    def test_every_line_of_a_chart_has_a_colour_of_its_own(self):
        self.assertEqual(len(set(pages.LINES)), charts.COLOURS)
        self.assertGreaterEqual(charts.COLOURS, 1 + len(peers.PEERS))
        for _, families in pages.CURVES:
            self.assertLessEqual(sum(model.family in families for model in MODELS)
                                 + len(pages.BESIDE.get(families[0], [])), charts.COLOURS)

    def test_a_gap_is_not_bridged(self):
        drawn = charts.curve_chart("t", "n", [1, 10, 100, 1000],
                                   [{"name": "a", "values": [1.0, None, 2.0, 3.0]}])
        self.assertEqual(drawn.count("<circle"), 3)
        self.assertRegex(drawn, r'class="curve c0" d="M[^"ML]*L[^"ML]*"')

    def test_one_load_has_no_curve(self):
        loads = [load for load in LOADS if load.name == "64x64"]
        self.assertNotIn("From one connection to many", pages.html(results(loads=loads)))

    def test_names_do_not_lie_on_each_other(self):
        for wanted in ([10, 10, 10], [200, 199, 198, 197], [5.0, 100.0, 99.0]):
            placed = charts.spaced(wanted, 14, 200)
            apart = sorted(placed)
            self.assertTrue(all(b - a >= 14 for a, b in zip(apart, apart[1:])), placed)
            self.assertLessEqual(max(placed), 200)


class summary(unittest.TestCase):
    def status(self, found, *options):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "report.json"
            file.write_text(json.dumps(found), encoding="utf-8")
            return subprocess.run([sys.executable, ROOT / "perf/report.py", *options, file],
                                  capture_output=True, text=True, check=False)

    def test_it_says_what_the_page_says(self):
        found = results()
        run = self.status(found)
        self.assertEqual(run.returncode, 0, run.stderr)
        said = " ".join(run.stdout.split())
        for each in found["sentences"]:
            self.assertIn(f"{each['head']}: {each['rest']}", said)
        self.assertIn("quick look", said)

    def test_the_short_form_has_a_line_for_each_case_and_no_intervals(self):
        run = self.status(results({"threads": 14.0}), "--short")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout.splitlines(), [
            "  - 1 connection: a thread for each costs 3.5 times the CPU of a task for each.",
            "  - 64 connections: a thread for each costs 3.5 times the CPU of a task for each.",
            "  - 1000 connections: a thread for each costs 3.5 times the CPU of a task for each.",
            "  - Short connections: a thread for each costs 3.5 times the CPU of a task for each.",
            "  - Idle connections: one more takes 1400 bytes with a thread, 400 with a task.",
            "  - coro beside raw epoll: of 16 rows 8 cost more CPU, 4 less, in 4 no difference was "
            "seen.",
        ])

    def test_the_short_form_claims_nothing_that_was_not_seen(self):
        def first(*arguments, **more):
            return self.status(results(*arguments, **more), "--short").stdout.splitlines()[0]
        self.assertIn("costs 0.95 times", first({"threads": 3.8}))
        self.assertIn("no difference in CPU was seen", first({"threads": 4.001}))
        self.assertIn("too few rounds to say", first(rounds=3))
        few = self.status(results(rounds=3), "--short").stdout
        self.assertIn("of 16 rows 0 cost more CPU, 0 less, in 0 no difference was seen; 16 are not "
                      "settled.", few)
        run = self.status(results(failures=dict.fromkeys(NAMES, "no")), "--short")
        self.assertEqual(run.returncode, 1)
        self.assertIn("64 connections: nothing can be said", run.stdout)
        self.assertIn("FAILED: " + "; ".join(NAMES), run.stdout)

    def test_only_io_uring_may_be_missing(self):
        refused = self.status(results(failures={"fiber, io_uring": "refused"}))
        self.assertEqual(refused.returncode, 0)
        self.assertIn("FAILED: fiber, io_uring", refused.stdout)
        self.assertIn("often refused in containers", " ".join(refused.stdout.split()))
        broken = self.status(results(failures={"fiber, epoll": "it ended"}))
        self.assertEqual(broken.returncode, 1)
        self.assertIn("FAILED: fiber, epoll", broken.stdout)

    def test_without_a_report_there_is_a_sentence(self):
        run = subprocess.run([sys.executable, ROOT / "perf/report.py", "/no/report.json"],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn("run scripts/perf --quick", run.stderr)


class sentences(unittest.TestCase):
    def test_they_follow_the_samples(self):
        for cost, outcome in ((8.0, "Threads lose"), (2.0, "Threads win"),
                              (4.001, "Threads and coroutines are about level")):
            found = heads(results({"threads": cost, "coroutine, io_uring": 4.0}))
            self.assertEqual(found[0], f"{outcome} with 1 connection")
            self.assertEqual(found[3], f"{outcome} with short connections")

    def test_a_reason_is_given_only_for_what_was_seen(self):
        lost = results({"threads": 8.0})["sentences"][1]["rest"]
        won = results({"threads": 2.0})["sentences"][1]["rest"]
        self.assertIn("wakes a thread of its own", lost)
        self.assertNotIn("wakes", won)

    def test_verdicts_that_differ_are_not_level_and_have_no_reason(self):
        for cost in (4.001, 3.8):  # same and more; less and more
            found = results({"threads": cost})
            self.assertEqual(heads(found)[0], "Mixed verdicts with 1 connection")
            self.assertNotIn(";", found["sentences"][0]["rest"])

    def test_too_few_rounds_settle_nothing(self):
        found = results(rounds=3)
        self.assertEqual(heads(found)[0], "Not settled with 1 connection")
        self.assertIn("too few rounds", pages.html(found))
        self.assertNotIn("costs more", report.text(found))


if __name__ == "__main__":
    unittest.main()
