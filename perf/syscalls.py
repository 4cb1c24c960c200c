#!/usr/bin/env python3
"""Counts the system calls that an echo server makes per message, and can hold it to bounds.

    perf/syscalls.py --rounds 40 --max epoll_ctl=0 --max epoll_wait=0.04 \
                     PATH/epoll_echo --buffer 4096
    perf/syscalls.py PATH/epoll_echo -- --connections 64 --size 64

strace is attached to all threads of the server once it listens, so start-up is not counted.

With --rounds this script is the client. In each round it waits until the server sleeps, stops it
(SIGSTOP), sends one message on each of its connections, waits until all have arrived, and lets the
server go on. So all messages of a round wait before the server's turn begins, and how often it
calls does not depend on who else runs on this machine: that is what a bound needs.

Without --rounds the words after `--` go to coro_load. How many messages one turn finds then depends
on the machine, and on strace, which slows the server down: epoll_wait and io_uring_enter come out
lower than untraced. Calls that belong to a message (recv, send, epoll_ctl) do not change.

A server that prints its own counters at its end (coro_echo --stats yes) is held to them: what it
counted and what strace saw must be the same, but for the calls before strace and after it.

Exit status: 0 counted; 1 a bound is broken, nothing was counted, or the server's own counters
disagree; 2 misuse.
"""

import argparse
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from fcntl import ioctl

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

# A group is counted as one, whatever form of the call the server prefers.
GROUPS = {
    "recv": ["recvfrom", "recvmsg", "recvmmsg", "read", "readv"],
    "send": ["sendto", "sendmsg", "sendmmsg", "write", "writev"],
    "epoll_ctl": ["epoll_ctl"],
    "epoll_wait": ["epoll_wait", "epoll_pwait", "epoll_pwait2"],
    "io_uring_enter": ["io_uring_enter"],
    "futex": ["futex"],
}
# Of these a failed call is usually an EAGAIN, that is, a wasted attempt.
FAILED = {"recv_failed": "recv", "send_failed": "send"}

# What the beginning and the end of a connection need, once each, is no message's: a first attempt
# that finds nothing and the receive of the end of the stream; one registration.
OF_A_CONNECTION = {"recv": 2, "recv_failed": 1, "epoll_ctl": 1}
OF_A_CONNECTION_IN_ROUNDS = {"epoll_ctl": 1}  # its first message waits, and its end is not counted

# What a server counts itself, by poller, and the group that strace must have seen as often.
COUNTERS = {
    "epoll": {"receives": "recv", "sends": "send", "waits": "epoll_wait", "controls": "epoll_ctl"},
    "io_uring": {"enters": "io_uring_enter"},
}
# Calls before strace has attached and after it has let go; and of each connection, whose end may
# come after.
UNTRACED = 20
UNTRACED_OF_A_CONNECTION = 2

ATTACH_SECONDS = 60
PATIENCE = 60  # a limit against hanging
MESSAGE_BYTES = 64
SIOCOUTQ = 0x5411  # <linux/sockios.h>: bytes that the peer's kernel has not acknowledged
# name: calls (and errors, when there were any); the totals line has no time columns to match.
ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:(\d+)\s+)?(\w+)\s*$")


def parse_summary(text):
    """{system call: (calls, errors)} from the table of strace -c."""
    counts = {}
    for line in text.splitlines():
        match = ROW.match(line)
        if match and match[3] != "total":
            counts[match[3]] = (int(match[1]), int(match[2] or 0))
    return counts


def group_counts(counts):
    """Calls per group; what belongs to no group keeps its own name."""
    grouped = dict.fromkeys([*GROUPS, *FAILED], 0)
    owner = {call: group for group, calls in GROUPS.items() for call in calls}
    failed = {group: name for name, group in FAILED.items()}
    for call, (calls, errors) in counts.items():
        group = owner.get(call, call)
        grouped[group] = grouped.get(group, 0) + calls
        if group in failed:
            grouped[failed[group]] += errors
    return grouped


def parse_bounds(words):
    bounds = {}
    for word in words:
        name, sign, number = word.partition("=")
        if not re.fullmatch(r"\d+(\.\d+)?", number) or not sign:
            raise Misuse(f"read --max {word}: that is not NAME=NUMBER; write epoll_ctl=0.01")
        if name not in GROUPS and name not in FAILED and name != "total":
            # A misspelt name would count 0 and hold for ever.
            raise Misuse(f"read --max {word}: there is no group {name}; choose from "
                         f"{', '.join([*GROUPS, *FAILED, 'total'])}")
        bounds[name] = float(number)
    return bounds


def parse_counters(text):
    """{counter: number} and the poller, from the line of a server's own counters; None without."""
    line = re.search(r"^poller (\w+) (.*)$", text, re.MULTILINE)
    if not line:
        return None
    words = line[2].split()
    return line[1], dict(zip(words[::2], map(int, words[1::2])))


def disagreements(counted, grouped, connections):
    """In which of its own counters a server and strace differ."""
    poller, numbers = counted
    untraced = UNTRACED + UNTRACED_OF_A_CONNECTION * connections
    return [f"the server counted {numbers[name]} {name}, strace saw {grouped[group]} of {group}"
            for name, group in COUNTERS[poller].items()
            if abs(numbers[name] - grouped[group]) > untraced]


def split_words(words):
    if "--" in words:
        cut = words.index("--")
        return words[:cut], words[cut + 1:]
    return words, []


def traced_threads(pid):
    """(traced, all) threads of a process."""
    traced = 0
    threads = os.listdir(f"/proc/{pid}/task")
    for thread in threads:
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as status:
            traced += any(re.match(r"TracerPid:\s+[1-9]", line) for line in status)
    return traced, len(threads)


class Tracer:
    """strace -c on all threads of a running process, from enter to exit of the block."""

    def __init__(self, pid):
        self.pid = pid
        self.summary = ""

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile(mode="r", prefix="coro-strace-")
        strace = harness.find_program("strace", "")
        self.process = subprocess.Popen(
            [strace, "-f", "-c", "-q", "-o", self.file.name, "-p", str(self.pid)],
            stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + ATTACH_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            traced, threads = traced_threads(self.pid)
            if traced == threads:
                return self
            time.sleep(0.01)
        self.stop()
        raise Failure(f"trace process {self.pid}: strace did not attach "
                      f"({self.process.stderr.read().strip()}); check ptrace_scope and privileges")

    def __exit__(self, *_):
        self.stop()
        self.summary = self.file.read()
        self.file.close()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # detaches and writes the table
        try:
            self.process.wait(ATTACH_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"play a round: {what} did not happen in {PATIENCE} s; run the server by "
                          "hand to see why")
        time.sleep(0.001)


def states(pid):
    """The state letter of each thread: S sleeps, T and t are stopped (proc_pid_stat(5))."""
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", encoding="utf-8") as stat:
            found.add(stat.read().rpartition(")")[2].split()[0])
    return found


def unacknowledged(peer):
    return struct.unpack("i", ioctl(peer, SIOCOUTQ, b"\0\0\0\0"))[0]


def echo(peer, message):
    """Reads what the server sends back for `message`."""
    back = b""
    while len(back) < len(message):
        piece = peer.recv(len(message) - len(back))
        if not piece:
            raise Failure("play a round: the server closed a connection")
        back += piece
    if back != message:
        raise Failure("play a round: the server sent back other bytes than it was sent")


def play_rounds(pid, port, rounds, connections, peers):
    """`rounds` times one message on each connection, all of them waiting before the turn begins.
    The first round connects too. The caller closes `peers`, when nothing is counted any more."""
    for number in range(rounds):
        message = struct.pack("<I", number) * (MESSAGE_BYTES // 4)
        wait_until(lambda: states(pid) == {"S"}, "the server's sleep")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: states(pid) <= {"T", "t"}, "its stop")
            while len(peers) < connections:
                peers.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
                peers[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for peer in peers:
                peer.sendall(message)
            wait_until(lambda: not any(map(unacknowledged, peers)), "the messages' arrival")
        finally:
            os.kill(pid, signal.SIGCONT)
        for peer in peers:
            echo(peer, message)
    return {"messages_total": rounds * connections, "connections": connections}


def print_table(grouped, messages):
    print(f"{messages} messages")
    print(f"{'system call':<18}{'calls':>10}  per message")
    for name, calls in sorted(grouped.items(), key=lambda item: -item[1]):
        if calls or name in GROUPS:
            print(f"{name:<18}{calls:>10}  {calls / messages:.4f}")


def main():
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__.split("\n\n")[0],
        usage="%(prog)s [--max NAME=N]... SERVER [ARGUMENT...] [-- coro_load arguments]")
    parser.add_argument("--max", action="append", default=[], metavar="NAME=N",
                        help=f"exit 1 above N calls per message; names: {', '.join(GROUPS)}, "
                             f"{', '.join(FAILED)}, total")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help="play N rounds of messages that wait before the server's turn")
    parser.add_argument("--connections", type=int, default=64, help="of --rounds (64)")
    parser.add_argument("--load", metavar="PATH", help="coro_load")
    parser.add_argument("--server-cpu", type=int, default=0, help="(0; -1 does not pin)")
    parser.add_argument("--load-cpu", type=int, default=1, help="(1; -1 does not pin)")
    # Everything from the first word that is no option belongs to the server, dashes or not.
    parser.add_argument("server", nargs=argparse.REMAINDER, help="program and arguments")
    ours, load_words = split_words(sys.argv[1:])
    options = parser.parse_args(ours)
    bounds = parse_bounds(options.max)
    if not options.server:
        raise Misuse("trace nothing: no server was given; name its program")
    if options.rounds is not None and (options.rounds < 1 or options.connections < 1 or load_words):
        raise Misuse("play rounds: --rounds and --connections are at least 1, and what stands "
                     "behind -- is for coro_load, which has no part in it; leave it out")
    broken = judge(options, bounds, load_words)
    if broken:
        raise Failure("judge: " + "; ".join(broken))
    return 0


def judge(options, bounds, load_words):
    """Counts the rounds, or one window of load; what is wrong with it."""
    load = None if options.rounds else harness.find_program(options.load, "load/coro_load")
    with harness.Server(options.server, options.server_cpu) as server, ExitStack() as until_end:
        peers = []
        until_end.callback(lambda: [peer.close() for peer in peers])
        with Tracer(server.pid) as tracer:
            if options.rounds:
                found = play_rounds(server.pid, server.port, options.rounds, options.connections,
                                    peers)
            else:
                found = harness.run_load(load, server.port, load_words, options.load_cpu)
    counted = parse_counters(server.last_words)
    messages = found["messages_total"]
    connections = found["connections"]
    grouped = group_counts(parse_summary(tracer.summary))
    total = sum(calls for name, calls in grouped.items() if name not in FAILED)
    if messages == 0 or total == 0:
        raise Failure(f"count system calls: {messages} messages and {total} calls were seen, "
                      "so nothing was measured; check the server and strace")
    grouped["total"] = total
    print_table(grouped, messages)
    once = OF_A_CONNECTION_IN_ROUNDS if options.rounds else OF_A_CONNECTION
    per_message = {name: max(0, grouped[name] - once.get(name, 0) * connections) / messages
                   for name in bounds}
    broken = [f"{name} is {per_message[name]:.4f} per message, above {bound:g}"
              for name, bound in bounds.items() if per_message[name] > bound]
    if counted is not None:
        broken += disagreements(counted, grouped, connections)
        print(f"own counters of {counted[0]}: {counted[1]}")
    elif "--stats" in options.server:
        broken.append("the server printed no counters of its own, although it was told to")
    return broken


if __name__ == "__main__":
    harness.run_main("syscalls.py", main)
