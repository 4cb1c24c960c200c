#!/usr/bin/env python3
"""The arena: every model of an echo server under every load, as tables and as one report.

    scripts/perf [--quick|--full] [--peers]       builds what is needed, then runs this

Each load has servers of its own, which run all the time of the load. In every round each gets a
short window, in an order drawn anew, once the server before it sleeps. Prints the tables, and
writes report.html, which needs no other file, and report.json, which holds every sample, to
build/perf (or --output).

A server that cannot serve a load says why and ends with status 3. Its cell says so, and that is no
failure.

A signal ends the run after the load under way is given up. The report then has the loads before.

Exit status: 0 measured; 1 a contender failed (the report says which, and holds the others), or a
signal ended the run; 2 misuse; 70 an error in this script; 128 and the number of a signal that came
before the first load was measured.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import harness  # noqa: E402
import page  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
from harness import Failure, Misuse  # noqa: E402
from models import LOADS, MODELS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
IDLE_BEFORE = 1000  # connections that are there already, so that no pool is still growing
SETTLE_LIMIT = 1  # seconds; a server that never sleeps is not waited for longer
OWN_DESCRIPTORS = 32  # of a server or the generator, beside its connections
IDLE_MORE = 1000  # the growth that they cause, divided by their number, is the figure
SETTLE_SECONDS = "0.2"


def plan_of(quick, full):
    """How much is measured. A quick look has the fewest rounds that give an interval at all. With
    --full the windows are short, or all peers would take hours."""
    if quick:
        return {"quick": True, "rounds": 6, "seconds": 0.25, "memory_samples": 2}
    return {"quick": False, "rounds": 15, "seconds": 0.3 if full else 0.5, "memory_samples": 5}


# ---- measuring -----------------------------------------------------------------------------------


class Progress:
    """Says on stderr what comes next and about how long the rest will take."""

    def __init__(self, parts):
        self.parts = parts
        self.done = 0
        self.start = time.monotonic()

    def next(self, name):
        spent = time.monotonic() - self.start
        left = f", about {spent / self.done * (self.parts - self.done):.0f} s left" \
            if self.done else ""
        self.done += 1
        print(f"[{self.done}/{self.parts}] {name}{left}", file=sys.stderr, flush=True)


def processors():
    """(server's, generator's): two of those that this process may use, or one for both."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


class Entrant:
    """A model's server for one load."""

    def __init__(self, model, command, processor):
        self.name = model.name
        self.is_restless = model.is_restless
        self.server = harness.Server(command, processor).__enter__()
        self.rest()

    def rest(self):
        if self.is_restless:
            os.kill(self.server.pid, signal.SIGSTOP)

    @contextlib.contextmanager
    def awake(self):
        if self.is_restless:
            os.kill(self.server.pid, signal.SIGCONT)
        try:
            yield self.server
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.rest()

    def stop(self):
        if self.is_restless and self.server.process.poll() is None:
            os.kill(self.server.pid, signal.SIGCONT)
        return self.server.stop()


def threads_of(pid):
    """The folders in /proc of all threads of a process, and of its children."""
    found = []
    with contextlib.suppress(OSError):
        found = [f"/proc/{pid}/task/{number}" for number in os.listdir(f"/proc/{pid}/task")]
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children",
                                            encoding="utf-8") as children:
        found += [f"/proc/{child}" for child in children.read().split()]
    return found


def computes(folder):
    """Whether a thread has something to do, be it that it waits for a processor or a disk."""
    with contextlib.suppress(OSError), open(f"{folder}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] in "RD"
    return False


def cpu_clock(pid):
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3)
    return None


def wait_until_it_sleeps(pid):
    """The end of its connections is work too, on the processor where the next one is measured."""
    end = time.monotonic() + SETTLE_LIMIT
    before = cpu_clock(pid)
    while time.monotonic() < end:
        time.sleep(0.002)
        now = cpu_clock(pid)
        if now == before and not any(map(computes, threads_of(pid))):
            return
        before = now


class Cells:
    """One load: the samples of each model, or why there are none."""

    def __init__(self, names):
        self.runs = {name: [] for name in names}
        self.failures = {}
        self.refusals = {}
        self.orders = []  # of the rounds

    def is_open(self, name):
        return name not in self.failures and name not in self.refusals

    def as_found(self, load):
        return {"load": load.name, "runs": self.runs, "failures": self.failures,
                "refusals": self.refusals, "orders": self.orders}


def no_room(connections):
    """Why this machine cannot have so many connections in one process; None when it can."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = connections + OWN_DESCRIPTORS
    if limit == resource.RLIM_INFINITY or wanted <= limit:
        return None
    return (f"there is no room here: {wanted} descriptors are needed in a process, and ulimit -Hn "
            f"is {limit}; raise it")


def start_servers(running, contenders, server_cpu, cells):
    """Those that start, until `running` ends."""
    entrants = {}
    for model, command in contenders:
        try:
            entrants[model.name] = Entrant(model, command, server_cpu)
            running.callback(entrants[model.name].stop)
        except (Failure, Misuse) as failure:
            cells.failures[model.name] = str(failure)
    return entrants


def measure_round(entrants, order, load, options, cells):
    for name in filter(cells.is_open, order):
        entrant = entrants[name]
        try:
            with entrant.awake() as server:
                cells.runs[name].append(compare.measure_window(name, server, load, options))
                if not entrant.is_restless:
                    wait_until_it_sleeps(server.pid)
        except Failure as failure:
            refusal = entrant.server.refusal()
            (cells.failures if refusal is None else cells.refusals)[name] = refusal or str(failure)


def those_that_take_part(contenders, load):
    """[(model, command)] of a load; with several loops those that use several processors."""
    if load.loops == 1:
        return contenders
    return [(model, command + (["--loops", str(load.loops)] if is_of_coro(model) else []))
            for model, command in contenders if model.spreads or is_of_coro(model)]


def is_of_coro(model):
    return model.family in ("coroutine", "fiber")


def measure_load(contenders, load, plan, generator, say):
    """{load, runs, failures, refusals, orders}: all rounds of one load."""
    server_cpu, load_cpu = processors() if load.is_pinned else (None, None)
    contenders = those_that_take_part(contenders, load)
    cells = Cells([model.name for model, _ in contenders])
    if why := no_room(load.connections):
        cells.refusals = dict.fromkeys(cells.runs, why)
        return cells.as_found(load)
    rounds = plan["rounds"]
    draw = random.Random(f"{plan['seed']} {load.name}")
    options = types.SimpleNamespace(seconds=plan["seconds"], load=generator, load_cpu=load_cpu,
                                    poll=plan["poll"], rate=None)
    case = {"words": load.words, "measure": load.measure}
    with contextlib.ExitStack() as running:
        entrants = start_servers(running, contenders, server_cpu, cells)
        names = list(entrants)
        for number in range(rounds):
            say(f"{load.title}: round {number + 1} of {rounds}")
            cells.orders.append(draw.sample(names, len(names)))
            measure_round(entrants, cells.orders[-1], case, options, cells)
        for name, entrant in entrants.items():  # one that ends in disorder was not well before
            status = entrant.stop()
            if status != 0 and cells.is_open(name):
                cells.failures[name] = f"it ended with status {status} instead of 0"
    return cells.as_found(load)


def idle_bytes(command, generator):
    """{user, kernel}: bytes for one more idle connection of a fresh server; the kernel's are there
    if the load generator tells them."""
    server_cpu, load_cpu = processors()
    with harness.Server(command, server_cpu) as server:
        try:
            with harness.IdleConnections(generator, server.port, IDLE_BEFORE, load_cpu):
                found = harness.run_load(generator, server.port, [
                    "--connections", str(IDLE_MORE), "--hold", SETTLE_SECONDS,
                    "--server-pid", str(server.pid)], load_cpu)
        except Failure:
            if refusal := server.refusal():
                raise harness.CannotServe(refusal) from None
            raise
    return {"user": (found["rss_after_bytes"] - found["rss_before_bytes"]) / IDLE_MORE,
            "kernel": found.get("kernel_bytes_per_connection")}


def measure_memory(contenders, plan, generator):
    """{samples, kernel, failures, refusals}: bytes for one more idle connection."""
    cells = Cells([model.name for model, _ in contenders])
    kernel = {name: [] for name in cells.runs}
    if why := no_room(IDLE_BEFORE + IDLE_MORE):
        cells.refusals = dict.fromkeys(cells.runs, why)
        contenders = []
    for model, command in contenders:
        try:
            for _ in range(plan["memory_samples"]):
                found = idle_bytes(command, generator)
                cells.runs[model.name].append(found["user"])
                if found["kernel"] is not None:
                    kernel[model.name].append(found["kernel"])
        except harness.CannotServe as refusal:
            cells.refusals[model.name] = str(refusal)
        except (Failure, Misuse) as failure:
            cells.failures[model.name] = str(failure)
    return {"samples": cells.runs, "kernel": kernel, "failures": cells.failures,
            "refusals": cells.refusals}


def no_memory(contenders, why):
    names = [model.name for model, _ in contenders]
    return {"samples": {name: [] for name in names}, "kernel": {name: [] for name in names},
            "failures": {}, "refusals": dict.fromkeys(names, why)}


# ---- what was measured on ------------------------------------------------------------------------


def output_of(command):
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode == 0:
            return done.stdout
    return ""


def cache_entry(build, name):
    """A variable of the build's CMakeCache.txt; empty when there is none."""
    with contextlib.suppress(OSError), open(build / "CMakeCache.txt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return line.partition("=")[2].strip()
    return ""


def describe_everything(build):
    compiler = output_of([cache_entry(build, "CMAKE_CXX_COMPILER") or "c++", "--version"])
    server_cpu, load_cpu = processors()
    return {
        **compare.describe_machine(),
        "compiler": compiler.split("\n")[0] or "unknown",
        "flags": cache_entry(build, "CMAKE_CXX_FLAGS_RELEASE"),
        "commit": output_of(["git", "describe", "--always", "--dirty"]).strip() or "unknown",
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "server_cpu": server_cpu,
        "load_cpu": load_cpu,
        "load_average_before": os.getloadavg()[0],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     epilog="The rest of this file's head says more.")
    add = parser.add_argument
    add("--quick", action="store_true", help="a quick look: 6 rounds of 0.25 s")
    add("--full", action="store_true", help="all loads, and not the main ones only")
    add("--peers", action="store_true", help="also the peers of the distribution that are there")
    add("--rounds", type=int, help="instead of 15, or 6 with --quick")
    add("--seed", type=int, help="of the orders; instead of one drawn from the clock")
    add("--seconds", type=float,
        help="length of a window, instead of 0.5, 0.3 with --full, or 0.25 with --quick")
    add("--poll", action="store_true", help="the generator spins instead of sleeping")
    add("--readme", action="store_true", help="those models only that the README's chart has")
    add("--model", action="append", metavar="NAME", help="this model; repeat for more")
    add("--load", action="append", metavar="NAME", help="this load; repeat for more")
    add("--list", action="store_true", help="name all models and loads, and measure nothing")
    add("--tables", action="store_true", help="print the tables only, not what they say")
    add("--build", type=pathlib.Path, default=ROOT / "build/release", help="(build/release)")
    add("--output", type=pathlib.Path, default=ROOT / "build/perf", help="(build/perf)")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1 \
            or options.seconds is not None and not options.seconds > 0:
        raise Misuse("measure for no time: --rounds and --seconds must be above 0; raise them")
    if options.quick and options.full:
        raise Misuse("measure: --quick and --full exclude each other; leave one of the two out")
    return options


def chosen(table, names, otherwise, kind):
    """The rows of a table that were asked for by name, or those that hold `otherwise`."""
    if not names:
        return [row for row in table if otherwise(row)]
    known = {row.name: row for row in table}
    for name in names:
        if name not in known:
            raise Misuse(f"read --{kind} {name}: there is none of that name; --list names them")
    return [row for row in table if row.name in names]


def command_of(build, command):
    """The words that start a contender: a list, for a path may hold blanks."""
    program, *arguments = command.split()
    return [str(build / "perf/contenders" / program), *arguments]


def plan_from(options):
    plan = plan_of(options.quick, options.full)
    plan["rounds"] = options.rounds or plan["rounds"]
    plan["seconds"] = options.seconds or plan["seconds"]
    plan["poll"] = options.poll
    plan["seed"] = time.time_ns() % 2**32 if options.seed is None else options.seed
    return plan | {"full": options.full, "idle": [IDLE_BEFORE, IDLE_MORE]}


def say_rounds(sentence):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{sentence}\r", end="", file=sys.stderr, flush=True)


def chosen_models(options):
    if not options.model:
        return [model for model in MODELS if model.in_readme or not options.readme], \
            peers.PEERS if options.peers else []
    known = [*MODELS, *peers.PEERS]
    picked = chosen(known, options.model, None, "model")
    return [row for row in picked if row in MODELS], [row for row in picked if row not in MODELS]


def measure(options, models, others, loads):
    """Everything, as it goes into report.json; `others` are the peers that are wanted."""
    start = time.monotonic()
    plan = plan_from(options)
    generator = harness.find_program(str(options.build / "perf/load/coro_load"), "")
    contenders = [(model, command_of(options.build, model.command)) for model in models]
    machine = describe_everything(options.build)
    if others:
        there, machine["versions"], machine["absent"] = peers.prepare(
            (options.build / "perf/peers").resolve(), say_rounds, others)
        contenders += there
        for name, why in machine["absent"].items():
            print(f"{name} is left out: {why}", file=sys.stderr)
    progress = Progress(len(loads) + 1)
    found = []
    memory = None
    ended = ""
    try:
        for load in loads:
            progress.next(load.title)
            found.append(measure_load(contenders, load, plan, generator, say_rounds))
        progress.next("Idle connections")
        memory = measure_memory(contenders, plan, generator)
    except (KeyboardInterrupt, SystemExit):
        if not found:
            raise
        ended = f"a signal ended it after {len(found)} of {len(loads)} loads"
        loads = loads[:len(found)]
    machine["load_average_after"] = os.getloadavg()[0]
    return {"machine": machine, "plan": plan, "ended": ended,
            "models": [model._asdict() for model, _ in contenders],
            "loads": [load._asdict() for load in loads], "cells": found,
            "memory": memory or no_memory(contenders, ended),
            "took_seconds": time.monotonic() - start}


def main():
    options = parse_arguments()
    if options.list:
        print("models: " + "; ".join(model.name for model in MODELS))
        print("peers: " + "; ".join(peer.name for peer in peers.PEERS))
        print("loads: " + "; ".join(load.name for load in LOADS))
        return 0
    models, others = chosen_models(options)
    loads = chosen(LOADS, options.load, lambda row: row.is_main or options.full, "load")
    raw = measure(options, models, others, loads)
    found = results.digest(raw)
    print(report.text(found))
    if not options.tables:
        print("\n" + report.summary(found))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (options.output / "report.html").write_text(page.html(found), encoding="utf-8")
    print(f"\nThe report is {options.output / 'report.html'}; every sample is in report.json "
          f"beside it. It took {raw['took_seconds']:.0f} s.")
    if raw["ended"]:
        raise Failure(f"measure: {raw['ended']}; the report has what was measured, and nothing of "
                      "idle connections")
    if failed := report.failed_contenders(found):
        raise Failure("measure " + "; ".join(failed) + ": see the rows that say FAILED")
    return 0


if __name__ == "__main__":
    harness.run_main("arena.py", main)
