#!/usr/bin/env python3
"""Runs one GoogleTest program; fails when it fails, when it skipped a test, or when none ran.

GoogleTest ends with 0 although tests were skipped or a filter matched none; a required test that is
skipped is a failure. `--allow-skip REGEX` names those that may be skipped (matched against
Suite.Name). `--log FILE` keeps the output there. `--shards N` runs the tests in N processes side by
side, for programs that wait more than they compute; the second one's log is FILE with `.2` before
its suffix.

    run_gtest.py [--log FILE] [--shards N] [--allow-skip REGEX]... -- PROGRAM [ARGUMENT]...
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import threading

SKIPPED = re.compile(r"^\[  SKIPPED \] (\S+?)(?:,| \(|$)")
RAN = re.compile(r"^\[==========\] (\d+) tests? from \d+ test suites? ran\.")


def judge(lines, status, allowed):
    """The reasons for which this run is a failure; empty when it is none."""
    reasons = []
    ran = 0
    skipped = set()
    for line in lines:
        if match := RAN.match(line):
            ran += int(match.group(1))
        if match := SKIPPED.match(line):
            skipped.add(match.group(1))
    # "[  SKIPPED ] 2 tests, listed below:" is a heading, not a test.
    refused = sorted(
        name
        for name in skipped
        if "." in name and not any(re.fullmatch(regex, name) for regex in allowed)
    )
    if status < 0:
        reasons.append(f"the program was ended by signal {-status}")
    elif status != 0:
        reasons.append(f"the program exited with {status}")
    if ran == 0:
        reasons.append("no test ran")
    if refused:
        reasons.append("skipped, which is not allowed: " + ", ".join(refused))
    return reasons


class shard:
    """One process with its part of the tests. The first one's output is shown as it comes, that of
    the others when they have ended."""

    def __init__(self, command, index, count, log):
        self.lines = []
        self.shown = index == 0
        environment = dict(os.environ)
        if count > 1:
            environment |= {"GTEST_TOTAL_SHARDS": str(count), "GTEST_SHARD_INDEX": str(index)}
        if log and index > 0:
            log = log.with_suffix(f".{index + 1}{log.suffix}")
        self.log = log.open("w", encoding="utf-8") if log else None
        self.program = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=environment,
        )

    def read(self):
        for line in self.program.stdout:
            self.lines.append(line)
            if self.shown:
                sys.stdout.write(line)
                sys.stdout.flush()
            if self.log:
                self.log.write(line)
                self.log.flush()
        self.program.wait()
        if self.log:
            self.log.close()

    def show_rest(self):
        if not self.shown:
            sys.stdout.write("".join(self.lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--shards", type=int, default=1, metavar="N")
    parser.add_argument("--allow-skip", action="append", default=[], metavar="REGEX")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    if options.log:
        if folder := os.environ.get("CORO_TEST_LOGS"):  # two runs of one test at a time
            options.log = pathlib.Path(folder) / options.log.name
        options.log.parent.mkdir(parents=True, exist_ok=True)
    shards = [
        shard(options.command, index, options.shards, options.log)
        for index in range(options.shards)
    ]
    readers = [threading.Thread(target=each.read) for each in shards]
    for each in readers:
        each.start()
    for each in readers:
        each.join()

    reasons = []
    for each in shards:
        each.show_rest()
        reasons += judge(each.lines, each.program.returncode, options.allow_skip)
    for reason in reasons:
        print(f"run_gtest: {reason}")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
