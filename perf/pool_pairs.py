#!/usr/bin/env python3
"""Compares tasks that share a pool with tasks that have a connection each, in interleaved pairs.

    perf/pool_pairs.py --pairs 31 --poller epoll

64 tasks on a pool of 16 connections, and 16 tasks with a connection each, exchange 64 bytes with an
echo server (perf/clients/coro_pool.cpp). The client and the server have a processor each. Only
windows of one pair are divided by each other. The figures are medians of these ratios, with the
interval that holds the true median with at least 95 %.

Exit status: 0 measured; 1 a program failed, or a bound of --max-cpu or --min-rate is broken; 2
misuse.
"""

import argparse
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from compare import describe_machine, median_interval  # noqa: E402
from harness import Failure, Misuse  # noqa: E402


def parse_pairs(text):
    """[(dedicated, pooled)], each of exchanges, seconds and CPU seconds."""
    pairs = []
    for line in text.splitlines():
        words = line.split()
        if len(words) != 7 or words[0] != "pair":
            raise Failure(f"read what coro_pool printed: {line!r} is no pair of windows")
        numbers = [int(word) for word in words[1:]]
        both = [(count, span / 1e9, cpu / 1e9) for count, span, cpu in (numbers[:3], numbers[3:])]
        if any(count == 0 for count, *_ in both):
            raise Failure("measure: no exchange ended in a window; make it longer by --seconds")
        pairs.append(tuple(both))
    return pairs


def summarize(pairs):
    """Medians: of CPU microseconds for an exchange, of exchanges a second, and of their ratios."""
    cpu = [[used / count * 1e6 for count, _, used in pair] for pair in pairs]
    rate = [[count / span for count, span, _ in pair] for pair in pairs]
    found = {}
    for name, values in (("cpu", cpu), ("rate", rate)):
        ratios = [pooled / dedicated for dedicated, pooled in values]
        found[name] = {"dedicated": statistics.median(each[0] for each in values),
                       "pooled": statistics.median(each[1] for each in values),
                       "ratio": statistics.median(ratios),
                       "interval": (median_interval(ratios) or (None,))[:2]}
    return found


def text_of(found, name, unit, digits):
    each = found[name]
    interval = "too few pairs for an interval"
    if len(each["interval"]) == 2:
        interval = "95 % interval {:.3f} - {:.3f}".format(*each["interval"])
    return (f"{unit}: dedicated {each['dedicated']:.{digits}f}, "
            f"pooled {each['pooled']:.{digits}f}; ratio {each['ratio']:.3f} ({interval})")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--pairs", type=int, default=31, help="(31)")
    add("--seconds", type=float, default=0.25, help="length of a window (0.25)")
    add("--connections", type=int, default=16, help="(16)")
    add("--tasks", type=int, default=64, help="that share the pool (64)")
    add("--poller", default="epoll", choices=["epoll", "io_uring"], help="of the client (epoll)")
    add("--server", metavar="COMMAND", help="an echo server (contenders/epoll_echo)")
    add("--client", metavar="PATH", help="(clients/coro_pool)")
    add("--server-cpu", type=int, default=0, help="(0; -1 does not pin)")
    add("--client-cpu", type=int, default=1, help="(1; -1 does not pin)")
    add("--max-cpu", type=float, metavar="RATIO", help="exit 1 when the CPU ratio is above it")
    add("--min-rate", type=float, metavar="RATIO", help="exit 1 when the rate's is below it")
    return parser.parse_args()


def measure(options):
    client = harness.find_program(options.client, "clients/coro_pool")
    server = options.server or harness.find_program(None, "contenders/epoll_echo")
    with harness.Server(server, options.server_cpu) as running:
        command = [client, "--port", str(running.port), "--pairs", str(options.pairs),
                   "--seconds", str(options.seconds), "--connections", str(options.connections),
                   "--tasks", str(options.tasks), "--poller", options.poller]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              preexec_fn=harness.prepare(options.client_cpu))
        if done.returncode != 0:
            raise Failure(f"run coro_pool: {done.stderr.strip() or done.returncode}")
        running.check_alive()
    return parse_pairs(done.stdout)


def main():
    options = parse_arguments()
    if options.pairs < 1 or not options.seconds > 0 or options.connections < 1 or options.tasks < 1:
        raise Misuse("measure nothing: --pairs, --seconds, --connections and --tasks must be above "
                     "0; raise them")
    found = summarize(measure(options))
    machine = describe_machine()
    print(f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}; "
          f"{options.pairs} pairs of {options.seconds} s, {options.tasks} tasks on "
          f"{options.connections} pooled connections beside {options.connections} dedicated ones, "
          f"{options.poller}")
    print(text_of(found, "cpu", "CPU us/exchange", 3))
    print(text_of(found, "rate", "exchanges/s", 0))
    if options.max_cpu is not None and found["cpu"]["ratio"] > options.max_cpu:
        raise Failure(f"judge: the pool costs {found['cpu']['ratio']:.3f}, above "
                      f"{options.max_cpu:g}")
    if options.min_rate is not None and found["rate"]["ratio"] < options.min_rate:
        raise Failure(f"judge: the pool does {found['rate']['ratio']:.3f}, below "
                      f"{options.min_rate:g}")
    return 0


if __name__ == "__main__":
    harness.run_main("pool_pairs.py", main)
