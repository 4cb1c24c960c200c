#!/usr/bin/env python3
"""What one more idle connection of a server costs, in user memory and in the kernel's.

    perf/kernel_bytes.py [--from 2000] [--to 12000] SERVER [ARGUMENT]...

SERVER prints the port on which it listens at the end of its first line, as the contenders do. Each
connection has one byte echoed, and idles. Needs root: /proc/slabinfo. Both ends are on this
machine; of the caches that a socket of either end takes, the server gets the half. The caches of
its poller are its own, as far as no other program makes such objects meanwhile: run it on a quiet
machine.
"""
import argparse
import pathlib
import re
import resource
import socket
import statistics
import subprocess
import sys

BOTH = ["TCP", "sock_inode_cache", "dentry", "filp", "lsm_inode_cache", "lsm_file_cache"]
SERVER = ["eventpoll_epi", "ep_head", "io_kiocb", "kmalloc-96"]


def bytes_of_caches():
    """Bytes in objects that are in use, with their share of the unused rest of a slab."""
    caches = {}
    for line in pathlib.Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()[2:]:
        words = line.split()
        active, per_slab, pages = int(words[1]), int(words[4]), int(words[5])
        caches[words[0]] = active * pages * resource.getpagesize() / per_slab
    return caches


def user_bytes_of(process):
    status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE).group(1)) * 1024


def grow(ends, count, port):
    while len(ends) < count:
        end = socket.create_connection(("127.0.0.1", port))
        end.sendall(b"x")
        if end.recv(1) != b"x":
            sys.exit("the server does not echo")
        ends.append(end)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="least", type=int, default=2000)
    parser.add_argument("--to", dest="most", type=int, default=12000)
    parser.add_argument("--rounds", type=int, default=5, help="steps between; the median counts")
    parser.add_argument("server", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.server or options.most - options.least < options.rounds:
        parser.error("name a server, and more connections behind --to than behind --from")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with subprocess.Popen(options.server, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline().split()[-1].rsplit(":", 1)[-1])
            measure(server.pid, port, options)
        finally:
            server.terminate()


def measure(process, port, options):
    ends, user, kernel = [], [], {name: [] for name in BOTH + SERVER}
    grow(ends, options.least, port)
    step = (options.most - options.least) // options.rounds
    for _ in range(options.rounds):
        before, own = bytes_of_caches(), user_bytes_of(process)
        grow(ends, len(ends) + step, port)
        after = bytes_of_caches()
        user.append((user_bytes_of(process) - own) / step)
        for name, values in kernel.items():
            values.append((after.get(name, 0) - before.get(name, 0)) / step)
    total = 0
    for name, values in kernel.items():
        share = statistics.median(values) / (2 if name in BOTH else 1)
        total += share
        print(f"{name:20} {share:8.0f}")
    print(f"{'kernel':20} {total:8.0f}\n{'user':20} {statistics.median(user):8.0f}")


if __name__ == "__main__":
    main()
