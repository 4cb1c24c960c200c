#!/usr/bin/env python3
"""Threads, raw epoll, raw io_uring, coroutines and fibers: one table and one report.

    scripts/perf [--quick]       builds what is needed, then runs this

Measures each way of writing an echo server with 1, 64 and 1000 connections, with short connections,
and with idle ones, in the rounds of compare.py. Prints the tables, and writes report.html, which
needs no other file, and report.json, which holds every sample, to build/perf (or --output).

Exit status: 0 measured; 1 a contender failed (the report says which, and holds the others);
2 misuse; 70 an error in this script.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import harness  # noqa: E402
import report  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]

# ---- the plan ------------------------------------------------------------------------------------
BASELINE = "raw epoll"
THREADS = "threads"
COROUTINES = ["coroutine, epoll", "coroutine, io_uring"]
# name, family (its colour), command, what it is
CONTENDERS = [
    (THREADS, "threads", "threads_echo",
     "a std::thread per connection, blocking calls, stacks of 64 KiB"),
    (BASELINE, "raw", "epoll_echo", "one loop of epoll_wait, recv and send, written by hand"),
    ("raw io_uring", "raw", "uring_echo", "one loop on the ring, written by hand"),
    ("coroutine, epoll", "coroutine", "coro_echo --poller epoll", "coro, a task per connection"),
    ("coroutine, io_uring", "coroutine", "coro_echo --poller io_uring",
     "coro, a task per connection"),
    ("fiber, epoll", "fiber", "fiber_echo --poller epoll", "coro, a fiber per connection"),
    ("fiber, io_uring", "fiber", "fiber_echo --poller io_uring", "coro, a fiber per connection"),
]
# case of compare.py, title, what happens
CASES = [
    ("1x64", "1 connection",
     "One client sends 64 bytes, waits for them to come back, and sends again."),
    ("64x64", "64 connections", "The same on 64 connections at once."),
    ("1000x64", "1000 connections", "The same on 1000 connections at once."),
    ("64x64-short", "Short connections",
     "A connection for each message: connect, one message there and back, close; 64 at a time."),
]
IDLE_BEFORE = 1000  # connections that are there already, so that no pool is still growing
IDLE_MORE = 1000  # the growth that they cause, divided by their number, is the figure
SETTLE_SECONDS = "0.2"


def plan_of(quick):
    """How much is measured; a quick look has the fewest rounds that give an interval at all."""
    if quick:
        return {"quick": True, "rounds": 6, "seconds": 0.25, "memory_samples": 2}
    return {"quick": False, "rounds": 15, "seconds": 0.5, "memory_samples": 5}


# ---- measuring -----------------------------------------------------------------------------------


class Progress:
    """Says on stderr what comes next and about how long the rest will take."""

    def __init__(self, parts):
        self.parts = parts
        self.done = 0
        self.start = time.monotonic()

    def next(self, name):
        spent = time.monotonic() - self.start
        left = f", about {spent / self.done * (self.parts - self.done):.0f} s left" \
            if self.done else ""
        self.done += 1
        print(f"[{self.done}/{self.parts}] {name}{left}", file=sys.stderr, flush=True)


def processors():
    """(server's, generator's): two of those that this process may use, or one for both."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def start_servers(running, contenders, server_cpu, failures):
    """Those that start, until `running` ends; the sentences of the others go to `failures`."""
    servers = {}
    for name, _, command, _ in contenders:
        try:
            servers[name] = harness.Server(command, server_cpu).__enter__()
            running.callback(servers[name].stop)
        except (Failure, Misuse) as failure:
            failures[name] = str(failure)
    return servers


def stop_servers(servers, measured):
    """A server that does not end in order was not well before: it failed in every case."""
    for name, server in servers.items():
        status = server.stop()
        for case in measured if status != 0 else []:
            case["failures"].setdefault(name, f"it ended with status {status} instead of 0")


def measure_traffic(contenders, plan, cases, load, progress):
    """[{case, runs, failures}]: all rounds of all cases."""
    server_cpu, load_cpu = processors()
    options = types.SimpleNamespace(rounds=plan["rounds"], seconds=plan["seconds"], load=load,
                                    load_cpu=load_cpu, poll=False, rate=None)
    measured = []
    unstarted = {}
    with contextlib.ExitStack() as running:
        servers = start_servers(running, contenders, server_cpu, unstarted)
        for word, title, _ in cases:
            progress.next(title)
            failures = dict(unstarted)
            runs = compare.measure_case(compare.parse_case(word), servers, options, failures)
            measured.append({"case": word, "runs": runs, "failures": failures})
        stop_servers(servers, measured)
    return measured


def idle_bytes(command, load):
    """Growth of a fresh server's resident memory for one more idle connection."""
    server_cpu, load_cpu = processors()
    with harness.Server(command, server_cpu) as server:
        with harness.IdleConnections(load, server.port, IDLE_BEFORE, load_cpu):
            found = harness.run_load(load, server.port, [
                "--connections", str(IDLE_MORE), "--hold", SETTLE_SECONDS,
                "--server-pid", str(server.pid)], load_cpu)
    return (found["rss_after_bytes"] - found["rss_before_bytes"]) / IDLE_MORE


def measure_memory(contenders, plan, load, progress):
    """{samples, failures}: bytes for one more idle connection."""
    progress.next("Idle connections")
    samples, failures = {}, {}
    for name, _, command, _ in contenders:
        samples[name] = []
        try:
            for _ in range(plan["memory_samples"]):
                samples[name].append(idle_bytes(command, load))
        except (Failure, Misuse) as failure:
            failures[name] = str(failure)
    return {"samples": samples, "failures": failures}


# ---- from samples to results: nothing below here measures anything -------------------------------


def verdict(row, baseline):
    """What the interval of the ratio says: "base", "more", "less", "same" or "unsettled"; a row
    that has no ratio, because the measure failed, is "alone"."""
    if row["server"] == baseline:
        return "base"
    if row["interval"] is None:
        return "unsettled"
    low, high = row["interval"]
    return "more" if low > 1 else "less" if high < 1 else "same"


def compared(case, runs, baseline):
    """The rows of compare.py with a verdict each; {} when there is no baseline."""
    if not runs.get(baseline):
        return {}
    rows = compare.summarize(case, runs, baseline)["rows"]
    return {row["server"]: {**row, "verdict": verdict(row, baseline)} for row in rows}


def digest_case(measured):
    case = compare.parse_case(measured["case"])
    runs = {name: found for name, found in measured["runs"].items()
            if found and name not in measured["failures"]}
    rows = {}
    for name in runs:  # each beside itself first: figures that need no baseline
        alone = compared(case, {name: runs[name]}, name)[name]
        rows[name] = {**alone, "ratio": None, "interval": None, "verdict": "alone"}
    rows.update(compared(case, runs, BASELINE))
    against = {name: compared(case, runs, name)[THREADS] for name in COROUTINES
               if name in runs and THREADS in runs}
    return {"case": case, "rows": rows, "against_coroutines": against,
            "failures": measured["failures"]}


def digest(raw):
    """Adds what follows from the samples of `raw`; what report.py draws."""
    cases = [{**digest_case(measured), "title": title, "story": story}
             for measured, (_, title, story) in zip(raw["cases"], raw["plan"]["cases"])]
    memory = {name: compare.spread(found) for name, found in raw["memory"]["samples"].items()
              if found and name not in raw["memory"]["failures"]}
    return {**raw, "baseline": BASELINE, "results": cases, "idle": memory,
            "sentences": [*map(sentence_of_case, cases), sentence_of_memory(memory, raw),
                          sentence_of_coro(raw, cases)],
            "short": [*map(short_of_case, cases), short_of_memory(memory),
                      short_of_coro(raw, cases)]}


# Why, for each outcome that there is a reason for; another outcome gets its figures only.
REASONS = {
    ("1x64", "win"): "a message needs only the receive and the send, and no call that waits for "
                     "events",
    ("1x64", "level"): "with one message under way both sleep and are woken once for each, and "
                       "that is most of the cost",
    ("64x64", "lose"): "each message wakes a thread of its own and switches to it, where one wait "
                       "of a loop hands out many messages",
    ("1000x64", "lose"): "each message wakes one of a thousand threads and switches to it, where "
                         "one wait of a loop hands out hundreds of messages",
    ("64x64-short", "lose"): "each connection begins with the making of a thread and ends with its "
                             "end, where a task is a piece of recycled memory",
    ("idle", "lose"): "a thread keeps pages of its stack and its own record, a task one frame of "
                      "some hundred bytes",
}
OUTCOMES = {"lose": "Threads lose", "win": "Threads win",
            "level": "Threads and coroutines are about level", "open": "Not settled",
            "mixed": "Mixed verdicts"}


def outcome_of(verdicts):
    """Of threads against all coroutine contenders: lose, win, level, mixed when these differ, or
    open: too few rounds."""
    if "unsettled" in verdicts:
        return "open"
    if len(set(verdicts)) > 1:
        return "mixed"
    return {"more": "lose", "less": "win", "same": "level"}[verdicts[0]]


def sentence(key, where, outcome, figures):
    reason = REASONS.get((key, outcome))
    return {"case": key, "outcome": outcome, "head": f"{OUTCOMES[outcome]} {where}",
            "rest": figures + (f"; {reason}." if reason else ".")}


def no_sentence(key, where):
    return {"case": key, "outcome": "failed", "head": f"Nothing can be said {where}",
            "rest": "threads, or both of the coroutine servers, failed."}


def spoken(name):
    return name.replace(",", "s on")  # coroutines on epoll


def shown_interval(row):
    if row["interval"] is None:
        return f"{row['ratio']:.3f} times"
    return f"{row['ratio']:.3f} times, {row['interval'][0]:.3f} to {row['interval'][1]:.3f}"


def sentence_of_case(found):
    key = found["case"]["name"]
    where = "with " + found["title"][0].lower() + found["title"][1:]
    against = found["against_coroutines"]
    if not against:
        return no_sentence(key, where)
    mine = found["rows"][THREADS]["cpu_us_per_message"]["median"]
    beside = " and ".join(
        f"{found['rows'][name]['cpu_us_per_message']['median']:.1f} for {spoken(name)} "
        f"({shown_interval(row)})" for name, row in against.items())
    return sentence(key, where, outcome_of([row["verdict"] for row in against.values()]),
                    f"{mine:.1f} µs of CPU per message beside {beside}")


def rows_of_coro(raw, cases):
    """[(case, name, row)], and how many of them have each verdict."""
    own = [name for name, family, *_ in raw["contenders"] if family in ("coroutine", "fiber")]
    rows = [(found, name, found["rows"][name]) for found in cases for name in own
            if name in found["rows"]]
    return rows, {kind: sum(row["verdict"] == kind for _, _, row in rows)
                  for kind in ("more", "less", "same", "unsettled", "alone")}


def sentence_of_coro(raw, cases):
    """Which of coro's rows cost more than the measure, and how the others stand."""
    rows, count = rows_of_coro(raw, cases)
    more = "; ".join(f"{name} with {found['title'][0].lower() + found['title'][1:]} "
                     f"({shown_interval(row)})"
                     for found, name, row in rows if row["verdict"] == "more")
    said = (f"of {len(rows)} rows {count['more']} cost more CPU per message, {count['less']} less, "
            f"and in {count['same']} no difference was seen")
    if open_rows := count["unsettled"] + count["alone"]:
        said += f"; {open_rows} are not settled"
    return {"case": "all", "outcome": "beside raw epoll", "head": "coro beside raw epoll",
            "rest": said + (f". More cost: {more}." if more else ".")}


def sentence_of_memory(memory, raw):
    where = "with idle connections"
    others = [name for name in COROUTINES if name in memory]
    if not others or THREADS not in memory:
        return no_sentence("idle", where)
    mine = memory[THREADS]
    verdicts = ["more" if mine["min"] > memory[name]["max"] else
                "less" if mine["max"] < memory[name]["min"] else "same" for name in others]
    if any(len(raw["memory"]["samples"][name]) < 2 for name in [THREADS, *others]):
        verdicts = ["unsettled"]
    beside = " and ".join(f"{memory[name]['median']:.0f} for {spoken(name)}"
                          for name in others)
    return sentence("idle", where, outcome_of(verdicts),
                    f"{mine['median']:.0f} bytes for one more beside {beside}")


# A line for each, without intervals, for whoever has seen nothing else yet.


def short_of_case(found):
    against = found["against_coroutines"]
    name = next(iter(against), None)  # on epoll, which is everywhere
    if name is None:
        return f"{found['title']}: nothing can be said, for servers failed"
    row = against[name]
    if row["verdict"] in ("more", "less"):
        times = f"{row['ratio']:.{1 if row['ratio'] > 1.1 else 2}f}"
        return (f"{found['title']}: a thread for each costs {times} times the CPU of a task for "
                "each")
    if row["verdict"] == "same":
        return (f"{found['title']}: no difference in CPU was seen between a thread and a task for "
                "each")
    return f"{found['title']}: too few rounds to say"


def short_of_memory(memory):
    name = next((each for each in COROUTINES if each in memory), None)
    if name is None or THREADS not in memory:
        return "Idle connections: nothing can be said, for servers failed"
    mine, theirs = memory[THREADS]["median"], memory[name]["median"]
    return (f"Idle connections: one more takes {mine:.0f} bytes with a thread, {theirs:.0f} with a "
            "task")


def short_of_coro(raw, cases):
    rows, count = rows_of_coro(raw, cases)
    left = count["unsettled"] + count["alone"]
    return (f"coro beside raw epoll: of {len(rows)} rows {count['more']} cost more CPU, "
            f"{count['less']} less, in {count['same']} no difference was seen"
            + (f"; {left} are not settled" if left else ""))


# ---- what was measured on ------------------------------------------------------------------------


def output_of(command):
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode == 0:
            return done.stdout
    return ""


def cache_entry(build, name):
    """A variable of the build's CMakeCache.txt; empty when there is none."""
    with contextlib.suppress(OSError), open(build / "CMakeCache.txt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return line.partition("=")[2].strip()
    return ""


def describe_everything(build):
    compiler = output_of([cache_entry(build, "CMAKE_CXX_COMPILER") or "c++", "--version"])
    server_cpu, load_cpu = processors()
    return {
        **compare.describe_machine(),
        "compiler": compiler.split("\n")[0] or "unknown",
        "flags": cache_entry(build, "CMAKE_CXX_FLAGS_RELEASE"),
        "commit": output_of(["git", "describe", "--always", "--dirty"]).strip() or "unknown",
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "server_cpu": server_cpu,
        "load_cpu": load_cpu,
        "load_average_before": os.getloadavg()[0],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="The second half of this file's head says the rest.")
    add = parser.add_argument
    add("--quick", action="store_true", help="a quick look: 6 rounds of 0.25 s, under 100 s")
    add("--rounds", type=int, help="instead of 15, or 6 with --quick")
    add("--seconds", type=float, help="length of a window, instead of 0.5, or 0.25 with --quick")
    add("--tables", action="store_true", help="print the tables only, not what they say")
    add("--build", type=pathlib.Path, default=ROOT / "build/release", help="(build/release)")
    add("--output", type=pathlib.Path, default=ROOT / "build/perf", help="(build/perf)")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1 \
            or options.seconds is not None and not options.seconds > 0:
        raise Misuse("measure for no time: --rounds and --seconds must be above 0; raise them")
    return options


def command_of(build, command):
    """The words that start a contender: a list, for a path may hold blanks."""
    program, *arguments = command.split()
    return [str(build / "perf/contenders" / program), *arguments]


def main():
    options = parse_arguments()
    start = time.monotonic()
    plan = {**plan_of(options.quick), "cases": CASES, "idle": [IDLE_BEFORE, IDLE_MORE]}
    plan["rounds"] = options.rounds or plan["rounds"]
    plan["seconds"] = options.seconds or plan["seconds"]
    load = harness.find_program(str(options.build / "perf/load/coro_load"), "")
    contenders = [(name, family, command_of(options.build, command), what)
                  for name, family, command, what in CONTENDERS]
    machine = describe_everything(options.build)

    progress = Progress(len(CASES) + 1)
    cases = measure_traffic(contenders, plan, CASES, load, progress)
    memory = measure_memory(contenders, plan, load, progress)
    machine["load_average_after"] = os.getloadavg()[0]
    raw = {"machine": machine, "plan": plan, "contenders": CONTENDERS, "cases": cases,
           "memory": memory, "took_seconds": time.monotonic() - start}

    results = digest(raw)
    print(report.text(results))
    if not options.tables:
        print("\n" + report.summary(results))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (options.output / "report.html").write_text(report.html(results), encoding="utf-8")
    print(f"\nThe report is {options.output / 'report.html'}; every sample is in report.json "
          f"beside it. It took {raw['took_seconds']:.0f} s.")
    if failed := report.failed_contenders(results):
        raise Failure("measure " + "; ".join(failed) + ": see the rows that say FAILED")
    return 0


if __name__ == "__main__":
    harness.run_main("against_threads.py", main)
