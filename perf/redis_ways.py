#!/usr/bin/env python3
"""Compares clients of Redis by requests per second of their CPU time, in interleaved rounds.

    perf/redis_ways.py --rounds 15

Starts a redis-server. In every round each client has a short window, in an order that rotates:
ECHO by hiredis' synchronous client (perf/clients/hiredis_sync.cpp), by pool_demo (32 tasks, on a
pool of 16 connections and on one that is shared), and by redis-benchmark, which checks no reply.
The clients have processor 1, the server has processor 0.

Exit status: 0 measured; 1 a program failed; 2 misuse.
"""

import argparse
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from compare import describe_machine, median_interval, table_lines  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

PATIENCE = 20  # seconds
BENCHMARKS = {"redis-benchmark, 16 connections": ["-c", "16", "-n", "20000"],
              "redis-benchmark, 1 connection, 32 deep": ["-c", "1", "-P", "32", "-n", "100000"]}
POOL = {"coro, a pool of 16, 32 tasks": "a pool of 16",
        "coro, one shared, 32 tasks": "one shared, pipelined"}
SYNCHRONOUS = "hiredis, synchronous"


def needed(name):
    found = shutil.which(name)
    if found is None:
        raise Misuse(f"find {name}: it is not installed; apt-get install redis-server redis-tools")
    return found


def run(command):
    """What it prints, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          preexec_fn=harness.prepare(1))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise Failure(f"run {command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def synchronous(program, port, seconds):
    words = run([program, "--port", str(port), "--seconds", str(seconds)])[0].split()
    return {SYNCHRONOUS: int(words[1]) / (int(words[3]) / 1e9)}


def pools(program, port, seconds):
    """Its table says microseconds of CPU time for a request."""
    said = run([program, "--redis", f"127.0.0.1:{port}", "--seconds", str(seconds)])[0]
    found = {}
    for name, way in POOL.items():
        row = re.search(rf"^{re.escape(way)} .* ([\d.]+)$", said, re.MULTILINE)
        found[name] = 1e6 / float(row[1])
    return found


def benchmarks(program, port):
    found = {}
    for name, words in BENCHMARKS.items():
        _, cpu = run([program, "-h", "127.0.0.1", "-p", str(port), "-q", *words, "ECHO", "12345"])
        found[name] = int(words[-1]) / cpu
    return found


def wait_until_it_answers(process, port):
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
                return
        except OSError:
            time.sleep(0.05)
    raise Failure("start redis-server: it does not answer; run it by hand to see why")


def measure(options):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    hiredis = harness.find_program(None, "clients/hiredis_sync")
    demo = harness.find_program(os.path.join(root, "build/release/examples/pool_demo"), "")
    benchmark = needed("redis-benchmark")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = subprocess.Popen(
        [needed("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--appendonly", "no"], stdout=subprocess.DEVNULL, preexec_fn=harness.prepare(0))
    try:
        wait_until_it_answers(server, port)
        windows = [lambda: synchronous(hiredis, port, options.seconds),
                   lambda: pools(demo, port, options.seconds),
                   lambda: benchmarks(benchmark, port)]
        rounds = []
        for number in range(options.rounds):
            found = {}
            for i in range(len(windows)):
                found |= windows[(number + i) % len(windows)]()
            rounds.append(found)
        return rounds
    finally:
        server.terminate()
        server.wait()


def table(rounds):
    rows = [["client", "requests per CPU second, median (lowest - highest)",
             "ratio to hiredis, 95 % interval"]]
    for name in [SYNCHRONOUS, *POOL, *BENCHMARKS]:
        rates = [each[name] for each in rounds]
        ratios = [each[name] / each[SYNCHRONOUS] for each in rounds]
        interval = median_interval(ratios)
        spread = f"{interval[0]:.2f} - {interval[1]:.2f}" if interval else "too few rounds"
        rows.append([name, f"{statistics.median(rates) / 1e3:.0f} k ({min(rates) / 1e3:.0f} - "
                           f"{max(rates) / 1e3:.0f})",
                     f"{statistics.median(ratios):.2f}, {spread}"])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=15, help="(15)")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a window (0.3)")
    options = parser.parse_args()
    if options.rounds < 1 or not options.seconds > 0:
        raise Misuse("measure for no time: --rounds and --seconds must be above 0; raise them")
    rounds = measure(options)
    machine = describe_machine()
    print(f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}; "
          f"{options.rounds} rounds")
    print("\n".join(table_lines(table(rounds))))
    return 0


if __name__ == "__main__":
    harness.run_main("redis_ways.py", main)
