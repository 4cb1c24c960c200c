#!/usr/bin/env python3
"""Runs one GoogleTest program; fails when it fails, when it skipped a test, or when none ran.

GoogleTest ends with 0 although tests were skipped or a filter matched none; a required test that is
skipped is a failure. `--allow-skip REGEX` names those that may be skipped (matched against
Suite.Name). `--log FILE` keeps the output there.

    run_gtest.py [--log FILE] [--allow-skip REGEX]... -- PROGRAM [ARGUMENT]...
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--allow-skip", action="append", default=[], metavar="REGEX")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    lines = []
    log = None
    if options.log:
        if folder := os.environ.get("CORO_TEST_LOGS"):  # two runs of one test at a time
            options.log = pathlib.Path(folder) / options.log.name
        options.log.parent.mkdir(parents=True, exist_ok=True)
        log = options.log.open("w", encoding="utf-8")
    with subprocess.Popen(
        options.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
    ) as program:
        for line in program.stdout:
            lines.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
            if log:
                log.write(line)
                log.flush()
    if log:
        log.close()

    reasons = judge(lines, program.returncode, options.allow_skip)
    for reason in reasons:
        print(f"run_gtest: {reason}")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
