#!/usr/bin/env python3
"""Shows that coro_load's checks can fail: runs it against a server that cheats once.

    perf/load/canary_test.py PATH/coro_load

For each kind of fault the load must end with status 1 and name the fault; against the same server
without a fault it must end with 0, so that the failures come from the fault and nothing else.
"""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402  (one folder up)

SENTENCE = "the server altered, lost, repeated or mixed up bytes"
# kind: connections. The message before must be of the same connection for repeat, so it has one.
FAULTS = {"flip": 4, "repeat": 1, "foreign": 4, "drop": 4}
WINDOWS = (0.4, 4, 40)  # a longer one where a busy machine left the one before it empty
FAR = 60  # a limit against hanging: a load that finds a fault ends by itself, and long before


def run_load(load, port, seconds, *more, connections=4):
    command = [load, "--port", str(port), "--connections", str(connections), "--size", "64",
               "--seconds", str(seconds), "--warmup", "0.05", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def expect(condition, sentence):
    if not condition:
        raise harness.Failure(sentence)


def run_honest(load, is_enough, *more):
    """The first load during which enough came back, or the longest one."""
    for seconds in WINDOWS:
        with harness.Server([load, "--serve-corrupt", "--corruption", "none"]) as server:
            done = run_load(load, server.port, seconds, *more)
        if harness.NO_MESSAGE not in done.stderr and (done.returncode != 0 or is_enough(done)):
            break
    return done


def check_honest(load):
    done = run_honest(load, lambda _: True)
    expect(done.returncode == 0, "accept honest bytes: coro_load ended with "
           f"{done.returncode} and said {done.stderr!r}; it must end with 0")
    expect("messages/s" in done.stdout, "accept honest bytes: coro_load printed no figures")


def check_fault(load, fault):
    with harness.Server([load, "--serve-corrupt", "--corruption", fault]) as server:
        done = run_load(load, server.port, FAR, connections=FAULTS[fault])
    expect(done.returncode == 1, f"find the fault {fault}: coro_load ended with {done.returncode}; "
           "it must end with 1, for its verification is blind")
    expect(SENTENCE in done.stderr, f"find the fault {fault}: coro_load said {done.stderr!r} "
           f"and not {SENTENCE!r}")


def check_short_connections(load):
    """The same eyes, where each message has a connection of its own."""
    done = run_honest(load, lambda each: json.loads(each.stdout)["messages"] > 4,
                      "--short", "--json")
    expect(done.returncode == 0, "accept honest short connections: coro_load ended with "
           f"{done.returncode} and said {done.stderr!r}; it must end with 0")
    found = json.loads(done.stdout)
    expect(found["messages"] > 4, f"open short connections: {found['messages']} messages came "
           "back; each of 4 connections must have been followed by others")
    with harness.Server([load, "--serve-corrupt", "--corruption", "flip"]) as server:
        done = run_load(load, server.port, FAR, "--short")
    expect(done.returncode == 1 and SENTENCE in done.stderr, "find a fault in a short connection: "
           f"coro_load ended with {done.returncode} and said {done.stderr!r}")


def said_after_the_server_left(load, seconds):
    """What a load says, and its status, when its server ends after so many seconds."""
    with harness.Server([load, "--serve-corrupt", "--corruption", "none"]) as server:
        command = [load, "--port", str(server.port), "--connections", "4", "--seconds", "1000"]
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        time.sleep(seconds)
        server.stop()
        try:
            _, said = running.communicate(timeout=FAR)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()
            raise harness.Failure("notice a server that ends: coro_load went on") from None
        return said, running.returncode


def check_vanished_server(load):
    for seconds in WINDOWS:  # a longer one where the load was opening its connections still
        said, status = said_after_the_server_left(load, seconds)
        if "open connection" not in said:
            break
    expect(status == 1 and "in all 4 connections ended" in said,
           f"notice a server that ends: coro_load ended with {status} and said {said!r}")


def main():
    if len(sys.argv) != 2:
        raise harness.Misuse("read the command line: one argument is needed; "
                             "give the path of coro_load")
    load = sys.argv[1]
    check_honest(load)
    for fault in FAULTS:
        check_fault(load, fault)
    check_short_connections(load)
    check_vanished_server(load)
    print(f"coro_load accepts honest bytes and finds {', '.join(FAULTS)} and a vanished server")
    return 0


if __name__ == "__main__":
    harness.run_main("canary_test.py", main)
