#!/usr/bin/env python3
"""A hundred thousand connections to one process: memory, cost of a message, latency.

    perf/c100k.py [--connections 100000] [--build build/release] [--output FILE.json]

Starts perf/c100k/server.cpp with --loops loops (8), each with a table of descriptors and a listener
of its own, and as many coro_load processes as clients. Loop k listens on 127.0.0.(k+1), and client
k connects from 127.0.1.(k+1): each pair has ports of its own. 1 % of the connections (--active)
carry messages, spread over all.

The same load runs three times: on so many active connections and no others, with all connections
open, and without the others again. In each a closed loop shows the CPU time of a message, and an
open loop at a low rate, in which server and clients sleep between two messages, how long it takes
until a message has woken the server and its echo the client.

Limits of descriptors, ports and memory are looked at first.

Exit status: 0 measured; 1 something failed; 2 misuse, or this machine has no room for so many.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import pathlib
import platform
import re
import resource
import select
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import Failure, Misuse  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
LONGEST = 600  # seconds, all in all
OWN_DESCRIPTORS = 64  # of a loop or client, beside its connections
# What both ends of a connection take in this machine's memory, with room to spare: see the report.
BYTES_OF_A_CONNECTION = 16 << 10
# Objects of the kernel that each end of a connection has, and what the server's end has besides.
# The clients are on epoll.
OF_BOTH_ENDS = {"io_uring": ("TCP", "sock_inode_cache", "dentry", "filp"),
                "epoll": ("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi")}
OF_SERVER = {"io_uring": ("io_kiocb",), "epoll": ()}


# ---- what there must be room for -----------------------------------------------------------------


def number_in(path):
    return int(pathlib.Path(path).read_text(encoding="utf-8").split()[0])


def meminfo(name):
    text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
    return int(re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)[1]) * 1024


def free_ports():
    """Half of the range: connect(2) finds a port of the even half at once. When those are taken, it
    looks at all of them each time before it comes to the others: 170 connections a second were
    seen."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
                    .read_text(encoding="utf-8").split())
    return (high - low + 1) // 2


def limits_of_system():
    return {"descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            "files": number_in("/proc/sys/fs/file-max"), "ports": free_ports(),
            "memory": meminfo("MemAvailable")}


def shortages(options, limits):
    """What there is too little of, a sentence each."""
    each = -(-options.connections // options.loops)  # of a loop, and of a client
    table = (each if options.tables == "own" else options.connections) + OWN_DESCRIPTORS
    needs = {
        "descriptors": (table, "descriptors in a table of the server",
                        "raise ulimit -n, or give more --loops"
                        if options.tables == "own" else "raise ulimit -n, or use --tables own"),
        "files": (2 * options.connections + 10_000, "open files of the system",
                  "raise fs.file-max"),
        "ports": (each + 1000, "ports of a client's address",
                  "widen net.ipv4.ip_local_port_range, or give more --loops"),
        "memory": (options.connections * BYTES_OF_A_CONNECTION, "bytes of memory",
                   "ask for fewer --connections, or end other programs"),
    }
    return [f"{needed} {what} are needed and there are {limits[name]}: {remedy}"
            for name, (needed, what, remedy) in needs.items() if limits[name] < needed]


# ---- clients -------------------------------------------------------------------------------------


def shares(total, parts):
    """`total` in whole numbers, as equal as can be."""
    return [total // parts + (part < total % parts) for part in range(parts)]


class Clients:
    """coro_load processes, one for each loop, that wait for cues. A context manager: inside of it
    all connections are open."""

    def __init__(self, load, server, connections, active, warmup, deadline):
        self.deadline = deadline
        self.processes = []
        for number, (count, talkers) in enumerate(zip(connections, active)):
            command = [load, "--address", f"127.0.0.{number + 1}", "--port", str(server.port),
                       "--source", f"127.0.1.{number + 1}", "--connections", str(count),
                       "--active", str(talkers), "--server-pid", str(server.pid),
                       "--warmup", f"{warmup:g}", "--cues", "--json"]
            self.processes.append(subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                preexec_fn=harness.prepare(None)))

    def __enter__(self):
        try:
            self.lines()
        except BaseException:
            self.__exit__(Failure, None, None)
            raise
        return self

    def __exit__(self, kind, *_):
        for each in self.processes:
            if kind is not None:
                each.kill()
            each.stdin.close()
        for each in self.processes:
            each.stdout.close()
            if each.wait() != 0 and kind is None:
                raise Failure(f"end the clients: one ended with {each.returncode}")

    def lines(self):
        """One line of each."""
        found = []
        for each in self.processes:
            left = self.deadline - time.monotonic()
            ready, _, _ = select.select([each.stdout], [], [], max(0, left))
            if not ready:
                raise Failure(f"wait for the clients: {LONGEST} s are over; give fewer "
                              "--connections, or a machine with less to do")
            line = each.stdout.readline()
            if not line:
                raise Failure("wait for the clients: one has ended; it has said why")
            found.append(line)
        return found

    def window(self, rate, seconds):
        """What each measured, at the same time. `rate` is that of all together; 0: closed."""
        for each in self.processes:
            each.stdin.write(f"{rate / len(self.processes):g} {seconds:g}\n")
            each.stdin.flush()
        return [json.loads(line) for line in self.lines()]


# ---- measuring -----------------------------------------------------------------------------------


def slabs():
    """{name: bytes} of the kernel's objects; {} for whoever may not read them."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        rows = pathlib.Path("/proc/slabinfo").read_text(encoding="utf-8").splitlines()[2:]
        return {words[0]: int(words[1]) * int(words[3]) for words in map(str.split, rows)}
    return {}


def memory(pid):
    """Bytes now, of the server and of the kernel."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    anonymous = int(re.search(r"^Anonymous:\s+(\d+) kB$", rollup, re.MULTILINE)[1]) * 1024
    return {"user": anonymous, "slab": meminfo("Slab"), "slabs": slabs()}


def digest_cost(windows):
    """CPU microseconds of the server for a message. The windows are of the same time, so each has
    seen the CPU time of all messages."""
    messages = sum(window["messages"] for window in windows)
    cpu = statistics.mean(window["server_busy_percent"] * window["seconds"] * 1e4
                          for window in windows)
    rate = sum(window["messages_per_second"] for window in windows)
    return {"cpu_us_per_message": cpu / messages if messages else None, "messages": messages,
            "messages_per_second": rate, "p99_us": digest_latency(windows)["p99"]}


def percentile(buckets, samples, percent):
    """The smallest value that so many of the samples do not exceed; None without samples."""
    rank = max(1, math.ceil(percent / 100 * samples))
    for value, count in buckets:
        rank -= count
        if rank <= 0:
            return value
    return None


def digest_latency(windows):
    """The percentiles of the samples of all clients together, and the largest of all."""
    latencies = [window["latency_us"] for window in windows]
    buckets = sorted(bucket for each in latencies for bucket in each["buckets"])
    samples = sum(each["samples"] for each in latencies)
    return {"samples": samples, "max": max(each["max"] for each in latencies),
            **{f"p{percent}": percentile(buckets, samples, percent) for percent in (50, 90, 99)}}


def measure_load(clients, options):
    return {"closed": digest_cost(clients.window(0, options.seconds)),
            "open": digest_latency(clients.window(options.rate, options.seconds))}


def memory_of_a_connection(before, after, connections, poller):
    """Bytes: of the server's process, and of the kernel for both ends."""
    grown = {name: (size - before["slabs"].get(name, 0)) / connections
             for name, size in after["slabs"].items()}
    found = {"user": (after["user"] - before["user"]) / connections,
             "kernel_both_ends": (after["slab"] - before["slab"]) / connections,
             "objects": {name: round(size, 1) for name, size in
                         sorted(grown.items(), key=lambda item: -item[1]) if size >= 16}}
    if grown:
        found["kernel_server_end"] = (
            sum(grown.get(name, 0) for name in OF_BOTH_ENDS[poller]) / 2 +
            sum(grown.get(name, 0) for name in OF_SERVER[poller]))
    return found


def run_all(options, programs):
    """The three loads, and memory between the first two."""
    deadline = time.monotonic() + LONGEST
    command = [programs["server"], "--loops", str(options.loops), "--tables", options.tables,
               "--poller", options.poller]
    if options.dead_peer:
        command += ["--dead-peer", f"{options.dead_peer:g}"]
    active = shares(options.active, options.loops)
    everyone = shares(options.connections, options.loops)
    warmup = options.seconds / 10
    with harness.Server(command) as server:
        before = memory(server.pid)
        with Clients(programs["load"], server, active, active, warmup, deadline) as clients:
            alone = measure_load(clients, options)
        start = time.monotonic()
        with Clients(programs["load"], server, everyone, active, warmup, deadline) as clients:
            opened = time.monotonic() - start
            time.sleep(min(1, options.seconds))  # the kernel frees some a little later
            after = memory(server.pid)
            among_all = measure_load(clients, options)
        with Clients(programs["load"], server, active, active, warmup, deadline) as clients:
            again = measure_load(clients, options)
    return {"alone": alone, "among_all": among_all, "alone_again": again,
            "opened_in_seconds": opened,
            "memory": memory_of_a_connection(before, after, options.connections, options.poller)}


# ---- the report ----------------------------------------------------------------------------------


def ratio_of_cost(found):
    """Cost with all connections open to the mean of the two without; None where one saw nothing."""
    costs = [found[name]["closed"]["cpu_us_per_message"]
             for name in ("alone", "among_all", "alone_again")]
    if None in costs:
        return None
    return costs[1] / statistics.mean((costs[0], costs[2]))


CORES = (1, 16, 1000)
EVERY = (1, 10, 60)  # seconds from one message of a connection to its next


def capacity(cost_us, bytes_, cores, every):
    """(connections, bytes) that so many cores hold, if each has a loop that is never idle and if
    every core adds as much as the first: arithmetic, no measurement."""
    connections = int(cores * every * 1e6 / cost_us)
    return connections, int(connections * bytes_)


def capacities(found):
    """What cores hold, by the cost of a message among all connections."""
    cost = found["among_all"]["closed"]["cpu_us_per_message"]
    used = found["memory"]
    if cost is None or "kernel_server_end" not in used:
        return
    bytes_ = used["user"] + used["kernel_server_end"]
    yield ""
    yield f"at {cost:.1f} us a message and {bytes_:.0f} bytes a connection, by arithmetic:"
    yield f"{'a message of each':<20}" + "".join(f"{f'{cores} cores':>24}" for cores in CORES)
    for every in EVERY:
        cells = (capacity(cost, bytes_, cores, every) for cores in CORES)
        yield f"{f'every {every} s':<20}" + "".join(
            f"{f'{count / 1e6:.2f} M, {size / 2**30:.1f} GiB':>24}" for count, size in cells)


def table(found, options):
    yield f"{'':<26}{'active only':>14}{f'{options.connections} open':>14}{'active again':>14}"
    runs = [found[name] for name in ("alone", "among_all", "alone_again")]
    for title, part, name in (("CPU us/message", "closed", "cpu_us_per_message"),
                              ("messages/s", "closed", "messages_per_second"),
                              ("paced: p50 us", "open", "p50"), ("paced: p99 us", "open", "p99")):
        values = [run[part][name] for run in runs]
        yield f"{title:<26}" + "".join(
            f"{'none' if value is None else f'{value:.1f}':>14}" for value in values)
    used = found["memory"]
    yield ""
    if (ratio := ratio_of_cost(found)) is not None:
        yield f"a message costs {ratio:.2f} times as much among all connections"
    yield f"opened in {found['opened_in_seconds']:.1f} s"
    yield f"user memory of a connection    {used['user']:.0f} bytes"
    yield f"kernel memory, both ends       {used['kernel_both_ends']:.0f} bytes"
    if "kernel_server_end" in used:
        yield f"  of these the server's end    {used['kernel_server_end']:.0f} bytes"
        yield "  objects: " + ", ".join(f"{name} {size:.0f}"
                                        for name, size in used["objects"].items())


def parse_arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--connections", type=int, default=100_000, help="(100000)")
    add("--active", type=int, help="of them carry messages (1 %%)")
    add("--loops", type=int, default=8, help="of the server, and as many clients (8)")
    add("--poller", choices=("io_uring", "epoll"), default="io_uring", help="(io_uring)")
    add("--tables", choices=("own", "shared"), default="own",
        help="of descriptors, of each loop (own)")
    add("--dead-peer", type=float, default=0,
        help="seconds after which a peer that answers no probe is dead; 0: never (0)")
    add("--seconds", type=float, default=5, help="of a window (5)")
    add("--rate", type=float, default=500, help="messages/s in all in the open loop (500)")
    add("--build", type=pathlib.Path, default=ROOT / "build/release", help="(build/release)")
    add("--output", type=pathlib.Path, help="where JSON with all figures goes")
    options = parser.parse_args()
    if options.active is None:
        options.active = max(options.loops, options.connections // 100)
    if not 1 <= options.loops <= 250 or not options.loops <= options.active <= options.connections:
        raise Misuse("divide connections: there are 1 to 250 --loops, each has one active "
                     "connection at least, and no more are --active than there are --connections")
    if not (options.seconds > 0 and options.rate > 0):
        raise Misuse("measure nothing: --seconds and --rate must be above 0; raise them")
    if options.dead_peer and not 1 <= options.dead_peer <= 10_000:
        raise Misuse("end dead peers: --dead-peer is 0, or 1 to 10000 seconds; correct it")
    return options


def main():
    options = parse_arguments()
    limits = limits_of_system()
    if missing := shortages(options, limits):
        raise Misuse(f"open {options.connections} connections: " + "; ".join(missing))
    programs = {"server": "c100k/c100k_server", "load": "load/coro_load"}
    programs = {name: harness.find_program(str(options.build / "perf" / path), "")
                for name, path in programs.items()}
    machine = {"kernel": platform.release(), "processors": os.cpu_count(),
               "load_average": os.getloadavg()[0], "limits": limits,
               "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
    start = time.monotonic()
    found = run_all(options, programs)
    print(f"{options.connections} connections, {options.active} active, {options.loops} loops on "
          f"{options.poller}, {machine['processors']} processors, load average "
          f"{machine['load_average']:.1f}, {time.monotonic() - start:.0f} s, {machine['date']}")
    print("\n".join([*table(found, options), *capacities(found)]))
    if options.output:
        plan = {name: value for name, value in vars(options).items()
                if not isinstance(value, pathlib.Path)}
        options.output.write_text(json.dumps({"machine": machine, "plan": plan, **found}, indent=1)
                                  + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    harness.run_main("c100k.py", main)
