#!/usr/bin/env python3
"""Counts the instructions of a message and of each primitive, and holds them to the last counts.

    perf/baseline.py [--build build/release]           compares with perf/baseline/counts.json
    perf/baseline.py [--build build/release] --write   writes what it counts there instead

valgrind's callgrind counts what the program executes in user mode, so the figures do not depend on
who else runs. The servers are driven in rounds of 64 messages that wait before the server's turn
begins (perf/syscalls.py), and by messages that come alone. Each figure is the difference of two
runs that differ in the number of messages only: what starts and ends a program is not in it.

Counts depend on the compiler, its flags, and on which files are compiled as one. So they are kept
for each such build, and another build than those is not judged. On io_uring they also depend on
what the kernel can do: there another kernel is not judged.

Exit status: 0 counted, nothing above the bound; 1 a count has grown by more than 3 %; 2 misuse;
77 nothing to compare with: no counts of this build are kept, or there is no valgrind.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import syscalls  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
COUNTS = ROOT / "perf/baseline/counts.json"
SKIPPED = 77
GROWTH = 0.03
CONNECTIONS = 64
MARKS = 3  # of each primitive: see perf/baseline/primitives.cpp
# name: server and arguments
SERVERS = {
    "coroutine, epoll": ["coro_echo", "--poller", "epoll"],
    "coroutine, io_uring": ["coro_echo", "--poller", "io_uring"],
    "fiber, epoll": ["fiber_echo", "--poller", "epoll"],
    "fiber, io_uring": ["fiber_echo", "--poller", "io_uring"],
}
# name: what it counts for one more of `unit`
FEW = {"rounds": 4, "alone": 0, "short": 0}
SHAPES = {
    "message, 64 connections": ({**FEW, "rounds": 20}, 16 * CONNECTIONS),
    "message, 1 connection": ({**FEW, "alone": 100}, 100),
    "short connection": ({**FEW, "short": 50}, 50),
}


class Skip(Exception):
    """Nothing to compare with: exit status 77."""


def callgrind(output, *more):
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", *more]


def total_of(file):
    """The instructions of one profile that callgrind has written."""
    found = re.search(r"^totals: (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise Failure(f"read {file}: callgrind wrote no totals; run the program by hand under it")
    return int(found[1])


# ---- primitives ----------------------------------------------------------------------------------


def count_primitives(build):
    """{primitive: instructions of one}."""
    program = str(build / "perf/baseline/coro_primitives")
    with tempfile.TemporaryDirectory() as folder:
        command = callgrind(f"{folder}/out", "--dump-before=coro_baseline_mark")
        done = subprocess.run([*command, program], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"count {program}: it ended with {done.returncode} and said "
                          f"{done.stderr.strip()[-400:]!r}")
        names = [line.split() for line in done.stdout.splitlines()]
        # The first profile of each is what led to its first mark.
        return {name: (total_of(pathlib.Path(folder, f"out.{MARKS * number + 3}")) -
                       total_of(pathlib.Path(folder, f"out.{MARKS * number + 2}"))) / int(rounds)
                for number, (name, rounds) in enumerate(names)}


# ---- servers -------------------------------------------------------------------------------------


def sleeps(pid):
    return lambda: syscalls.states(pid) == {"S"}


def play_alone(server, peer, messages):
    """One message at a time on one connection: a turn of the server for each."""
    for number in range(messages):
        syscalls.wait_until(sleeps(server.pid), "the server's sleep")
        message = number.to_bytes(4, "little") * (syscalls.MESSAGE_BYTES // 4)
        peer.sendall(message)
        syscalls.echo(peer, message)


@contextlib.contextmanager
def stopped(pid):
    """The server stands still meanwhile: what is sent to it waits before its next turn begins."""
    syscalls.wait_until(sleeps(pid), "the server's sleep")
    os.kill(pid, signal.SIGSTOP)
    try:
        syscalls.wait_until(lambda: syscalls.states(pid) <= {"T", "t"}, "its stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def play_short(server, connections):
    """One connection at a time, with one message and its end, which wait for the server."""
    message = b"short" * 12 + b"1234"
    for _ in range(connections):
        with contextlib.ExitStack() as until_end:
            with stopped(server.pid):
                peer = until_end.enter_context(
                    socket.create_connection(("127.0.0.1", server.port), syscalls.PATIENCE))
                peer.sendall(message)
                peer.shutdown(socket.SHUT_WR)
                syscalls.wait_until(lambda: not syscalls.unacknowledged(peer), "its arrival")
            syscalls.echo(peer, message)
            if peer.recv(1):
                raise Failure("play a short connection: the server sent more than it was sent")


def end(server):
    """valgrind holds signals back while its program waits in io_uring_enter(2): a connection ends
    that wait. On epoll it would race with the signal, and the counts would have two values."""
    if "io_uring" not in server.command:
        return
    server.process.terminate()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)):
        server.process.wait(harness.STOP_SECONDS)


def instructions_of(build, command, play):
    """All that a server executes while it is driven so."""
    program = str(build / "perf/contenders" / command[0])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as until_end:
        output = pathlib.Path(folder, "out")
        # Its log would name system calls that it does not know, and that the library does without.
        valgrind = callgrind(output, f"--log-file={folder}/log")
        words = [*valgrind, program, *command[1:], "--spin", "no"]
        peers = []
        with harness.Server(words) as server:
            until_end.callback(lambda: [peer.close() for peer in peers])
            syscalls.play_rounds(server.pid, server.port, play["rounds"], CONNECTIONS, peers)
            play_alone(server, peers[0], play["alone"])
            play_short(server, play["short"])
            syscalls.wait_until(sleeps(server.pid), "the server's sleep")
            end(server)
        return total_of(output)


def servers_that_start(build):
    """Those of SERVERS that this system lets run: containers may refuse io_uring."""
    started = {}
    for name, command in SERVERS.items():
        try:
            with harness.Server([str(build / "perf/contenders" / command[0]), *command[1:]]):
                started[name] = command
        except Failure as failure:
            if "io_uring" not in name:
                raise
            print(f"{name} is not counted: {failure}")
    return started


def count_servers(build, servers):
    """{server and shape: instructions of one message or connection}; two servers run at once."""
    plays = {name: play for name, (play, _) in SHAPES.items()}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = {(server, name): pool.submit(instructions_of, build, command, play)
                for server, command in servers.items()
                for name, play in [("few", FEW), *plays.items()]}
        totals = {key: run.result() for key, run in runs.items()}
    return {f"{server}: {name}": (totals[server, name] - totals[server, "few"]) / units
            for server in servers for name, (_, units) in SHAPES.items()}


# ---- counts that are kept ------------------------------------------------------------------------


def cache_entry(build, name):
    found = re.search(rf"^{name}(?::\w+)?=(.*)$",
                      (build / "CMakeCache.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else ""


def describe(build):
    """What the counts of a build depend on."""
    if not (build / "CMakeCache.txt").exists():
        raise Misuse(f"read {build}: it is no build tree; build the release preset or name another "
                     "one with --build")
    compiler = subprocess.run([cache_entry(build, "CMAKE_CXX_COMPILER"), "--version"],
                              capture_output=True, text=True, check=True).stdout.split("\n")[0]
    kind = cache_entry(build, "CMAKE_BUILD_TYPE")
    flags = f"{cache_entry(build, 'CMAKE_CXX_FLAGS')} " \
            f"{cache_entry(build, 'CMAKE_CXX_FLAGS_' + kind.upper())}"
    united = cache_entry(build, "CMAKE_UNITY_BUILD") in ("ON", "1", "TRUE")
    return {"compiler": compiler, "flags": flags.strip(), "united": united,
            "processor": platform.machine()}


def kernel():
    return ".".join(platform.release().split(".")[:2])


def kept_entry(build_is):
    """The entry of such a build, or None, and all entries of the file."""
    entries = json.loads(COUNTS.read_text(encoding="utf-8"))["builds"] if COUNTS.exists() else []
    mine = [entry for entry in entries if entry["build"] == build_is]
    return (mine[0] if mine else None), entries


def write_counts(build_is, counts, entries):
    others = [entry for entry in entries if entry["build"] != build_is]
    rounded = {name: round(count, 1) for name, count in counts.items()}
    mine = {"build": build_is, "kernel": kernel(), "counts": rounded}
    COUNTS.write_text(json.dumps({"builds": [*others, mine]}, indent=1) + "\n", encoding="utf-8")


def comparable(counts, entry, servers, running):
    """What of both can be compared on this system. `servers` were counted."""
    left_out = set(SERVERS) - set(servers)
    if entry["kernel"] != running:
        left_out |= {name for name in SERVERS if "io_uring" in name}
        print(f"on io_uring nothing is compared: the counts are of Linux {entry['kernel']}, and "
              f"this is {running}")
    names = tuple(f"{server}: " for server in left_out)
    return ({name: count for name, count in each.items() if not name.startswith(names)}
            for each in (counts, entry["counts"]))


def judge(counts, kept):
    """(lines of the table, what is wrong)."""
    lines, wrong = [], []
    for name in sorted({*counts, *kept}):
        if name not in counts or name not in kept:
            wrong.append(f"{name} is {'new' if name in counts else 'gone'}")
            continue
        ratio = counts[name] / kept[name]
        lines.append(f"{name:<45}{counts[name]:>10.1f}{kept[name]:>10.1f}{ratio:>8.3f}")
        if ratio > 1 + GROWTH:
            wrong.append(f"{name} takes {counts[name]:.1f} instructions instead of "
                         f"{kept[name]:.1f}: {100 * (ratio - 1):.1f} % more")
    return lines, wrong


def need_valgrind():
    if shutil.which("valgrind") is None:
        raise Skip("count instructions: there is no valgrind; install it to compare")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release",
                        help="the build tree (build/release)")
    parser.add_argument("--write", action="store_true",
                        help="keep what is counted now, instead of comparing with it")
    options = parser.parse_args()
    build = options.build.resolve()
    build_is = describe(build)
    entry, entries = kept_entry(build_is)
    try:
        if entry is None and not options.write:
            raise Skip(f"compare instructions: none are kept for {build_is['compiler']} with "
                       f"{build_is['flags'] or 'no flags'}"
                       f"{', files united' if build_is['united'] else ''}; --write keeps them")
        need_valgrind()
        for program in ("baseline/coro_primitives", "contenders/coro_echo",
                        "contenders/fiber_echo"):
            harness.find_program(str(build / "perf" / program), "")
        servers = servers_that_start(build)
        counts = {**count_primitives(build), **count_servers(build, servers)}
    except Skip as reason:
        print(f"baseline.py: {reason}")
        return SKIPPED
    if options.write:
        if len(servers) != len(SERVERS):
            raise Failure("write counts: not all servers run here; write where they do")
        write_counts(build_is, counts, entries)
        print(f"{len(counts)} counts are in {COUNTS.relative_to(ROOT)}")
        return 0
    lines, wrong = judge(*comparable(counts, entry, servers, kernel()))
    print(f"{'instructions of one':<45}{'now':>10}{'kept':>10}{'ratio':>8}")
    print("\n".join(lines))
    if wrong:
        raise Failure("judge: " + "; ".join(wrong) + ". Mend it, or keep the new counts: "
                      f"perf/baseline.py --build {options.build} --write")
    return 0


if __name__ == "__main__":
    harness.run_main("baseline.py", main)
