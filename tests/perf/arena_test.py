#!/usr/bin/env python3
# ctest: timeout=480 serial
"""perf/arena.py measures real servers; one that does not start or cannot serve stops no other."""
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
sys.path.insert(0, str(ROOT / "perf"))
import arena  # noqa: E402
import harness  # noqa: E402
from models import LOADS, Load, Model  # noqa: E402

LOAD = str(BUILD / "perf/load/coro_load")
# Says that it listens, and ends: as a server does whose ring is refused a little later.
DISORDER = "print(\"listening 127.0.0.1:1\", flush=True); raise SystemExit(4)"
PLAN = {"rounds": 1, "poll": False, "seconds": 0.1, "memory_samples": 1, "seed": 7}
FOUR = Load("4x64", "four", "", ["--connections", "4", "--size", "64"], 4, True)
SHORT = Load("4x64-short", "short", "", ["--connections", "4", "--size", "64", "--short"], 4)


def entrant(name, *more, restless=False):
    """A contender as the arena takes it."""
    return (Model(name, "raw", name, "", is_restless=restless),
            [str(BUILD / "perf/contenders" / name), *more])


BROKEN = (Model("broken", "raw", "", ""), ["/bin/false"])
THREADS = entrant("threads_echo")


def measure(contenders, load, rounds=1):
    return arena.measure_load(contenders, load, PLAN | {"rounds": rounds}, LOAD, lambda _: None)


class of_one_load(unittest.TestCase):
    def test_a_server_that_does_not_start_stops_no_other(self):
        for load, rounds in ((FOUR, 1), (SHORT, 2)):
            found = measure([BROKEN, THREADS], load, rounds)
            self.assertIn("/bin/false", found["failures"]["broken"])
            self.assertEqual(len(found["runs"]["threads_echo"]), rounds)
            self.assertGreater(found["runs"]["threads_echo"][0]["messages"], 0)

    def test_a_server_that_ends_in_disorder_has_failed_and_stops_no_other(self):
        disorder = (Model("disorder", "raw", "", ""),
                    [sys.executable, "-c", DISORDER])
        found = measure([disorder, THREADS], FOUR)
        self.assertIn("disorder", found["failures"])
        self.assertNotIn("threads_echo", found["failures"])
        self.assertEqual(len(found["runs"]["threads_echo"]), 1)

    def test_a_server_that_cannot_serve_a_load_says_so_and_has_not_failed(self):
        found = measure([entrant("process_echo", "--most", "3"), THREADS], FOUR)
        self.assertEqual(found["failures"], {})
        self.assertEqual(list(found["refusals"]), ["process_echo"])
        self.assertRegex(found["refusals"]["process_echo"],
                         "^serve connection 4: a process for each is meant for at most 3")
        self.assertEqual(found["runs"]["process_echo"], [])
        self.assertEqual(len(found["runs"]["threads_echo"]), 1)

    def test_each_round_has_an_order_of_its_own_that_the_seed_repeats(self):
        found = measure([THREADS, entrant("select_echo"), entrant("epoll_echo")],
                        SHORT._replace(name="orders"), 2)
        draw = random.Random("7 orders")
        names = ["threads_echo", "select_echo", "epoll_echo"]
        self.assertEqual(found["orders"], [draw.sample(names, 3), draw.sample(names, 3)])
        self.assertNotEqual(*found["orders"])

    def test_a_load_for_which_there_is_no_room_is_refused_by_all_and_starts_none(self):
        with unittest.mock.patch("resource.getrlimit", return_value=(1024, 1024)):
            found = measure([BROKEN, THREADS], FOUR._replace(connections=1000))
            self.assertIsNone(arena.no_room(900))
        self.assertEqual(found["failures"], {})
        for name in ("broken", "threads_echo"):
            self.assertRegex(found["refusals"][name],
                             "no room here: 1032 descriptors are needed .* ulimit -Hn is 1024")

    def test_with_two_loops_only_those_take_part_that_use_two_processors(self):
        two = FOUR._replace(loops=2, is_pinned=False)
        fiber = Model("fiber", "fiber", "fiber_echo --poller epoll", "")
        spread = THREADS[0]._replace(spreads=True)
        part = arena.those_that_take_part(
            [(spread, ["threads_echo"]), (fiber, ["fiber_echo"]), entrant("epoll_echo")], two)
        self.assertEqual([command for _, command in part],
                         [["threads_echo"], ["fiber_echo", "--loops", "2"]])
        self.assertGreater(measure([(spread, THREADS[1])], two)["runs"]["threads_echo"][0]
                           ["fairness"]["jain"], 0)

    def test_it_is_seen_whether_a_server_computes(self):
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            self.addCleanup(busy.kill)
            self.assertTrue(any(map(arena.computes, arena.threads_of(busy.pid))))
            busy.kill()
        with harness.Server(THREADS[1]) as server:
            end = time.monotonic() + 60
            while any(map(arena.computes, arena.threads_of(server.pid))):
                self.assertLess(time.monotonic(), end)
            self.assertEqual(len(arena.threads_of(server.pid)), 1)

    def test_a_restless_server_is_stopped_between_its_windows(self):
        model, command = entrant("polling_echo", restless=True)
        resting = arena.Entrant(model, command, None)
        self.addCleanup(resting.stop)

        def state():
            with open(f"/proc/{resting.server.pid}/stat", encoding="utf-8") as stat:
                return stat.read().rpartition(")")[2].split()[0]

        end = time.monotonic() + 60
        while state() != "T" and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(state(), "T")
        with resting.awake():
            while state() == "T" and time.monotonic() < end:
                time.sleep(0.01)
            self.assertNotEqual(state(), "T")
        self.assertEqual(resting.stop(), 0)


class of_memory(unittest.TestCase):
    def test_an_idle_connection_of_a_thread_takes_at_least_a_page(self):
        found = arena.measure_memory([BROKEN, THREADS, entrant("select_echo")], PLAN, LOAD)
        self.assertIn("/bin/false", found["failures"]["broken"])
        self.assertEqual(found["samples"]["broken"], [])
        self.assertGreaterEqual(found["samples"]["threads_echo"][0], 4096)
        self.assertIn("below 1024 only", found["refusals"]["select_echo"])


def run(*arguments):
    return subprocess.run([sys.executable, ROOT / "perf/arena.py", *arguments],
                          capture_output=True, text=True, check=False)


class the_whole(unittest.TestCase):
    def test_without_a_build_it_says_so_and_measures_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            seen = run("--quick", "--build", folder, "--output", folder)
            self.assertEqual(os.listdir(folder), [])
        self.assertEqual(seen.returncode, 2, seen.stdout + seen.stderr)
        self.assertIn("build the release preset", seen.stderr)

    def test_one_round_of_four_models_under_four_loads_leaves_a_report_and_every_sample(self):
        """Where the paths hold blanks."""
        models = ["threads", "select", "raw epoll", "coroutine, io_uring"]
        loads = ["1x64", "64x64", "1000x64", "64x64-short"]
        with tempfile.TemporaryDirectory() as folder:
            build = pathlib.Path(folder, "a build")
            build.symlink_to(BUILD)
            seen = run("--quick", "--rounds", "1", "--seconds", "0.1", "--build", build,
                       "--output", folder, *(word for name in models for word in ("--model", name)),
                       *(word for name in loads for word in ("--load", name)))
            text = pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
            found = json.loads(pathlib.Path(folder, "report.json").read_text(encoding="utf-8"))
        for name in models:
            self.assertIn(name, seen.stdout)
            self.assertIn(name, text)
        self.assertEqual([cells["load"] for cells in found["cells"]], loads)
        for cells in found["cells"]:
            self.assertEqual(list(cells["runs"]), models)
            for name, runs in cells["runs"].items():
                without = name in cells["failures"] or name in cells["refusals"]
                self.assertEqual(len(runs) == 0, without, (cells["load"], cells["failures"]))
        self.assertEqual(list(found["memory"]["refusals"]), ["select"])
        self.assertEqual(len(found["ranking"]["rows"]), len(models))
        # A kernel or a container without io_uring leaves failed rows, and says so with its status.
        failed = [failure for part in [*found["cells"], found["memory"]]
                  for failure in part["failures"].items()]
        self.assertEqual([row for row in failed if "io_uring" not in row[0]], [], seen.stderr)
        self.assertEqual(seen.returncode, 1 if failed else 0, seen.stderr)

    def test_a_run_that_a_signal_ends_leaves_a_report_of_the_loads_before(self):
        loads = ["1x64", "64x64", "1000x64"]
        words = ["--quick", "--seconds", "0.2", "--build", BUILD, "--model", "threads", "--model",
                 "raw epoll", *(word for name in loads for word in ("--load", name))]
        for _ in range(10):  # on a busy machine all may be over before the signal comes
            with tempfile.TemporaryDirectory() as folder:
                with subprocess.Popen([sys.executable, ROOT / "perf/arena.py", *words, "--output",
                                       folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      text=True) as running:
                    for line in running.stderr:
                        if line.startswith("[2/4]"):
                            break
                    running.send_signal(signal.SIGINT)
                    said = running.stderr.read()
                    status = running.wait()
                if status == 1:
                    found = json.loads(pathlib.Path(folder, "report.json").read_text("utf-8"))
                    text = pathlib.Path(folder, "report.html").read_text("utf-8")
                    break
        self.assertEqual(status, 1, said)
        measured = [cells["load"] for cells in found["cells"]]
        self.assertEqual(measured, loads[:len(measured)])
        self.assertIn(f"a signal ended it after {len(measured)} of 3 loads", said)
        self.assertIn(found["ended"], text)

    def test_misuse_is_refused(self):
        for arguments, said in ((("--rounds", "0"), "must be above 0"),
                                (("--rounds", "-1"), "must be above 0"),
                                (("--seconds", "0"), "must be above 0"),
                                (("--seconds", "nan"), "must be above 0"),
                                (("--quick", "--full"), "exclude each other"),
                                (("--model", "none"), "there is none of that name"),
                                (("--load", "none"), "there is none of that name")):
            seen = run(*arguments)
            self.assertEqual(seen.returncode, 2, seen.stdout + seen.stderr)
            self.assertIn(said, seen.stderr)

    def test_it_names_its_models_and_loads(self):
        seen = run("--list")
        self.assertEqual(seen.returncode, 0, seen.stderr)
        for word in ("epoll, edge", "16-of-10000"):
            self.assertIn(word, seen.stdout)

    def test_every_load_is_one_that_the_generator_knows(self):
        with harness.Server([str(BUILD / "perf/contenders/epoll_echo")]) as server:
            for load in LOADS:
                words = [word if word not in ("1000", "4000", "10000", "16000") else "100"
                         for word in load.words]
                with self.subTest(load.name):
                    found = None
                    for seconds in ("0.05", "5"):  # a longer one where a busy machine was empty
                        with contextlib.suppress(harness.Starved):
                            found = found or harness.run_load(LOAD, server.port, [
                                *words, "--seconds", seconds, "--warmup", "0.01",
                                "--server-pid", str(server.pid)])
                    self.assertIsNotNone(found[load.measure])


# Starts a server, says its pid, and waits.
HOLDER = """import sys, time, harness
def main():
    with harness.Server([sys.argv[1]]) as server:
        print(server.pid, flush=True)
        if sys.argv[2:]:
            raise KeyError(sys.argv[2])
        time.sleep(60)
harness.run_main("holder", main)
"""


class what_is_left_behind(unittest.TestCase):
    def holder(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", HOLDER, BUILD / "perf/contenders/epoll_echo", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT / "perf")}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def assert_ends(self, pid):
        """The kernel ends it a moment after its parent; whoever inherited it reaps it."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                if "\nState:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text():
                    return
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.01)
        self.fail(f"the server {pid} was left behind")

    def test_no_server_outlives_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            with self.subTest(signal=number.name), self.holder() as holder:
                pid = int(holder.stdout.readline())
                holder.send_signal(number)
                status = holder.wait(20)
                self.assertEqual(status, -9 if number == signal.SIGKILL else 128 + number)
                self.assert_ends(pid)

    def test_an_error_of_the_script_has_a_status_of_its_own(self):
        with self.holder("oops") as holder:
            self.assertEqual(holder.wait(20), harness.CRASHED)
            self.assertIn("KeyError: 'oops'", holder.stderr.read())
            self.assert_ends(int(holder.stdout.read()))


if __name__ == "__main__":
    unittest.main()
