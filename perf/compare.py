#!/usr/bin/env python3
"""Compares echo servers by CPU time per message, in interleaved rounds.

    perf/compare.py --server epoll=PATH/epoll_echo --server uring=PATH/uring_echo \
                    --case 64x64 --case 64x64x16

Every server runs all the time; in each round each one gets a short window of load, in an order
drawn anew. Only ratios within a round are compared, because a shared machine changes speed from one
second to the next: the figure is the median over rounds of (server's CPU us/message) / (the
baseline's), with the interval that holds the true median with at least 95 % (order statistics, no
assumption about the distribution). Absolute figures are printed with their spread.

Exit status: 0 measured; 1 a byte was wrong, a server died, a --max bound is broken; 2 misuse.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import random
import re
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

WARMUP_SECONDS = 0.1
DEFAULT_ROUNDS = 15
ATTEMPTS = 8
CONFIDENCE = 0.95
CPU = "server_cpu_us_per_message"


def parse_case(word):
    """CONNECTIONSxBYTES[xDEPTH], for instance 64x64 or 64x64x16; 64x64-short: a new connection for
    each message, 64 at a time."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*(x[1-9]\d*|-short)?", word):
        raise Misuse(f"read --case {word}: that is not CONNECTIONSxBYTES, with xDEPTH or -short or "
                     "neither; write for instance 64x64x16")
    numbers = [int(part) for part in word.removesuffix("-short").split("x")]
    short = word.endswith("-short")
    case = {"name": word, "connections": numbers[0], "size": numbers[1],
            "depth": numbers[2] if len(numbers) == 3 else 1, "short": short, "measure": CPU}
    more = ["--short"] if short else ["--depth", str(case["depth"])]
    return case | {"words": ["--connections", str(numbers[0]), "--size", str(numbers[1]), *more]}


def parse_named(words, option):
    named = {}
    for word in words:
        name, sign, rest = word.partition("=")
        if not sign or not name or not rest:
            raise Misuse(f"read {option} {word}: that is not NAME=...; put a name in front")
        if name in named:
            raise Misuse(f"read {option} {word}: the name {name} is taken; choose another")
        named[name] = rest
    return named


def parse_bounds(words, servers):
    bounds = {}
    for name, text in parse_named(words, "--max").items():
        if name not in servers:
            raise Misuse(f"read --max {name}={text}: no --server has that name; correct it")
        try:
            bounds[name] = float(text)
        except ValueError:
            raise Misuse(f"read --max {name}={text}: the bound is not a number; write "
                         f"{name}=0.83") from None
        if not bounds[name] > 0:
            raise Misuse(f"read --max {name}={text}: a ratio is above 0; write {name}=0.83")
    return bounds


def median_interval(values):
    """(low, high, coverage) around the median, or None when there are too few values for 95 %.

    The true median lies between the k-th smallest and the k-th largest of n independent values with
    probability 1 - 2 * P(Binomial(n, 1/2) < k); k is the largest that keeps this at 95 % or more.
    """
    ordered = sorted(values)
    count = len(ordered)
    best = None
    below = 0.0
    for k in range(1, count // 2 + 1):
        below += math.comb(count, k - 1) / 2.0 ** count
        coverage = 1.0 - 2.0 * below
        if coverage < CONFIDENCE:
            break
        best = (ordered[k - 1], ordered[count - k], coverage)
    return best


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def load_words(case, options, pid, seconds):
    words = [*case["words"], "--seconds", str(seconds), "--warmup", str(WARMUP_SECONDS),
             "--server-pid", str(pid)]
    if options.poll:
        words.append("--poll")
    if options.rate:
        words += ["--rate", str(options.rate)]
    return words


def measure_window(name, server, case, options):
    """One window of load. On a machine that is very busy a server may get no time in one at all;
    the next one is twice as long then."""
    for attempt in range(ATTEMPTS):
        server.check_alive()
        seconds = options.seconds * 2 ** attempt
        with contextlib.suppress(harness.Starved):
            found = harness.run_load(options.load, server.port,
                                     load_words(case, options, server.pid, seconds),
                                     options.load_cpu)
            if found[case["measure"]] not in (None, 0):
                return found
    raise Failure(f"measure {name}: no {case['measure']} was seen in {ATTEMPTS} windows; nothing "
                  "can be compared")


def measure_case(case, servers, options):
    """Runs all rounds of one case; a list of measurements per server."""
    runs = {name: [] for name in servers}
    names = list(servers)
    draw = random.Random(case["name"])  # the same orders in every run
    for round_number in range(options.rounds):
        for name in draw.sample(names, len(names)):
            runs[name].append(measure_window(name, servers[name], case, options))
        if sys.stderr.isatty():
            print(f"\r{case['name']}: round {round_number + 1} of {options.rounds}", end="",
                  file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return runs


def summarize(case, runs, baseline):
    rows = []
    base = [run[case["measure"]] for run in runs[baseline]]
    for name, found in runs.items():
        cost = [run[CPU] for run in found if run[CPU] is not None]
        ratios = [run[case["measure"]] / reference for run, reference in zip(found, base)]
        interval = median_interval(ratios)
        rows.append({
            "server": name,
            "ratio": statistics.median(ratios),
            "interval": interval[:2] if interval else None,
            "coverage": interval[2] if interval else None,
            "cpu_us_per_message": spread(cost) if cost else None,
            "messages_per_second": spread([run["messages_per_second"] for run in found]),
            "p50_us": statistics.median(run["p50_us"] for run in found),
            "p99_us": statistics.median(run["p99_us"] for run in found),
            "server_busy_percent": statistics.median(run["server_busy_percent"] for run in found),
            "generator_busy_percent":
                statistics.median(run["generator_busy_percent"] for run in found),
            "ratios": ratios,
        })
    return {"case": case, "baseline": baseline, "rows": rows}


def cells(row):
    interval = "too few rounds"
    if row["interval"]:
        interval = f"{row['interval'][0]:.3f} - {row['interval'][1]:.3f}"
    cost, rate = row["cpu_us_per_message"], row["messages_per_second"]
    return [row["server"], f"{row['ratio']:.3f}", interval,
            f"{cost['median']:.3f} ({cost['min']:.3f} - {cost['max']:.3f})",
            f"{rate['median'] / 1e3:.1f} k ({rate['min'] / 1e3:.1f} - {rate['max'] / 1e3:.1f})",
            f"{row['p50_us']:.0f}", f"{row['p99_us']:.0f}",
            f"{row['server_busy_percent']:.0f} / {row['generator_busy_percent']:.0f}"]


HEADINGS = ["server", "CPU ratio", "95 % interval", "CPU us/message", "messages/s", "p50 us",
            "p99 us", "busy % server / load"]


def table_lines(rows, markdown=False):
    """The lines of a table whose first row is its heading."""
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        return lines
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows]


def print_report(results, machine, options):
    print(f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}; "
          f"{options.rounds} rounds of {options.seconds} s, medians (min - max)")
    for result in results:
        case = result["case"]
        how = "a connection each" if case["short"] else f"depth {case['depth']}"
        title = (f"{case['connections']} connections x {case['size']} B, {how}; "
                 f"ratios to {result['baseline']}")
        lines = table_lines([HEADINGS] + [cells(row) for row in result["rows"]], options.markdown)
        print(f"\n### {title}\n" if options.markdown else f"\n{title}")
        print("\n".join(lines))


def broken_bounds(results, bounds):
    return [f"{row['server']} costs {row['ratio']:.3f} of {result['baseline']} at "
            f"{result['case']['name']}, above the bound {bounds[row['server']]:g}"
            for result in results for row in result["rows"]
            if row["server"] in bounds and row["ratio"] > bounds[row["server"]]]


def describe_machine():
    processor = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = found[0] if found else processor
    return {"processor": processor, "processors": os.cpu_count(), "kernel": platform.release()}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--server", action="append", default=[], metavar="NAME=COMMAND",
        help="a server; --port 0 is added; repeat for more")
    add("--baseline", metavar="NAME", help="the server that counts as 1 (the first)")
    add("--case", action="append", default=[], metavar="CxB[xD]",
        help="connections x bytes x depth (64x64), or CxB-short: a connection for each message; "
             "repeat for more")
    add("--rounds", type=int, default=DEFAULT_ROUNDS, help=f"({DEFAULT_ROUNDS})")
    add("--seconds", type=float, default=0.5, help="length of a window (0.5)")
    add("--rate", type=float, help="paced load, messages/s")
    add("--poll", action="store_true", help="the generator spins instead of sleeping")
    add("--load", metavar="PATH", help="coro_load (build/release/perf/load/coro_load)")
    add("--server-cpu", type=int, default=0, help="(0; -1 does not pin)")
    add("--load-cpu", type=int, default=1, help="(1; -1 does not pin)")
    add("--max", action="append", default=[], metavar="NAME=RATIO",
        help="exit 1 when the median ratio of NAME is above RATIO in any case")
    add("--json", metavar="FILE", help="write everything measured, every round")
    add("--markdown", action="store_true", help="print tables as markdown")
    return parser.parse_args()


def main():
    options = parse_arguments()
    commands = parse_named(options.server, "--server")
    if not commands:
        raise Misuse("compare nothing: no --server was given; give two of them")
    if options.rounds < 1 or not options.seconds > 0:
        raise Misuse("measure for no time: --rounds and --seconds must be above 0; raise them")
    baseline = options.baseline or next(iter(commands))
    if baseline not in commands:
        raise Misuse(f"read --baseline {baseline}: no --server has that name; correct it")
    bounds = parse_bounds(options.max, commands)
    cases = [parse_case(word) for word in options.case or ["64x64"]]
    options.load = harness.find_program(options.load, "load/coro_load")

    with contextlib.ExitStack() as running:
        servers = {name: running.enter_context(harness.Server(command, options.server_cpu))
                   for name, command in commands.items()}
        runs = [measure_case(case, servers, options) for case in cases]
    results = [summarize(case, found, baseline) for case, found in zip(cases, runs)]

    machine = describe_machine()
    print_report(results, machine, options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "servers": commands, "rounds": options.rounds,
                       "seconds": options.seconds, "results": results,
                       "runs": [{"case": case["name"], "servers": found}
                                for case, found in zip(cases, runs)]}, file, indent=1)
    if broken := broken_bounds(results, bounds):
        raise Failure("judge: " + "; ".join(broken))
    return 0


if __name__ == "__main__":
    harness.run_main("compare.py", main)
