#!/usr/bin/env python3
# ctest: timeout=240 serial
"""perf/against_threads.py measures real servers, and one that does not start stops no other."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
sys.path.insert(0, str(ROOT / "perf"))
import against_threads  # noqa: E402
import harness  # noqa: E402

LOAD = str(BUILD / "perf/load/coro_load")
# Says that it listens, and ends: as a server does whose ring is refused a little later.
DISORDER = "print(\"listening 127.0.0.1:1\", flush=True); raise SystemExit(3)"
PLAN = {"rounds": 1, "seconds": 0.2, "memory_samples": 1}
CONTENDERS = [("broken", "raw", ["/bin/false"], ""),
              ("threads", "threads", [str(BUILD / "perf/contenders/threads_echo")], "")]


class against_threads_test(unittest.TestCase):
    def test_a_server_that_does_not_start_stops_no_other(self):
        cases = [("4x64", "", ""), ("4x64-short", "", "")]
        found = against_threads.measure_traffic(CONTENDERS, PLAN, cases, LOAD,
                                                against_threads.Progress(2))
        for case in found:
            self.assertIn("/bin/false", case["failures"]["broken"])
            self.assertEqual(len(case["runs"]["threads"]), 1)
            self.assertGreater(case["runs"]["threads"][0]["messages"], 0)

    def test_a_server_that_ends_in_disorder_has_failed_and_stops_no_other(self):
        disorder = [("disorder", "raw", [sys.executable, "-c", DISORDER], ""), CONTENDERS[1]]
        found = against_threads.measure_traffic(disorder, PLAN, [("4x64", "", "")], LOAD,
                                                against_threads.Progress(1))[0]
        self.assertIn("disorder", found["failures"])
        self.assertNotIn("threads", found["failures"])
        self.assertEqual(len(found["runs"]["threads"]), 1)

    def test_an_idle_connection_of_a_thread_takes_at_least_a_page(self):
        found = against_threads.measure_memory(CONTENDERS, PLAN, LOAD, against_threads.Progress(1))
        self.assertIn("/bin/false", found["failures"]["broken"])
        self.assertEqual(found["samples"]["broken"], [])
        self.assertGreaterEqual(found["samples"]["threads"][0], 4096)

    def test_without_a_build_it_says_so_and_measures_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            run = subprocess.run(
                [sys.executable, ROOT / "perf/against_threads.py", "--quick", "--build", folder,
                 "--output", folder], capture_output=True, text=True, check=False)
            self.assertEqual(os.listdir(folder), [])
        self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
        self.assertIn("build the release preset", run.stderr)

    def test_one_round_of_everything_leaves_a_report_and_every_sample(self):
        """Where the paths hold blanks."""
        with tempfile.TemporaryDirectory() as folder:
            build = pathlib.Path(folder, "a build")
            build.symlink_to(BUILD)
            run = subprocess.run(
                [sys.executable, ROOT / "perf/against_threads.py", "--quick", "--rounds", "1",
                 "--seconds", "0.2", "--build", build, "--output", folder],
                capture_output=True, text=True, check=False)
            page = pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
            found = json.loads(pathlib.Path(folder, "report.json").read_text(encoding="utf-8"))
        for name, *_ in against_threads.CONTENDERS:
            self.assertIn(name, run.stdout)
            self.assertIn(name, page)
        for case in found["cases"]:
            for name, runs in case["runs"].items():
                self.assertEqual(len(runs) == 0, name in case["failures"], case["case"])
        # A kernel or a container without io_uring leaves failed rows, and says so with its status.
        failed = [failure for part in [*found["cases"], found["memory"]]
                  for failure in part["failures"].items()]
        self.assertEqual([row for row in failed if "io_uring" not in row[0]], [], run.stderr)
        self.assertEqual(run.returncode, 1 if failed else 0, run.stderr)

    def test_misuse_is_refused(self):
        for arguments in (("--rounds", "0"), ("--rounds", "-1"), ("--seconds", "0"),
                          ("--seconds", "nan")):
            run = subprocess.run([sys.executable, ROOT / "perf/against_threads.py", *arguments],
                                 capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
            self.assertIn("must be above 0", run.stderr)


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
