#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""scripts/demo and scripts/perf say what they do, refuse what they do not know, name what is
missing, and name the log of a step that failed. That they work is seen by running them."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SCRIPTS = ("scripts/demo", "scripts/perf")
NEEDED_BY_THE_SCRIPTS = ("dirname", "env", "cat")


def run(script, *arguments, root=ROOT, **more):
    return subprocess.run([shutil.which("bash"), root / script, *arguments], capture_output=True,
                          text=True, check=False, **more)


class command_line(unittest.TestCase):
    def test_help_says_what_it_does(self):
        for script in SCRIPTS:
            found = run(script, "--help")
            self.assertEqual(found.returncode, 0, script)
            self.assertIn(f"{script} [--no-install]", found.stdout)
            self.assertEqual(found.stderr, "")

    def test_what_it_does_not_know_is_refused(self):
        for script in SCRIPTS:
            found = run(script, "--fast")
            self.assertEqual(found.returncode, 2, script)
            self.assertEqual(found.stdout, "there is no option '--fast'; --help lists them\n")

    def test_a_word_is_no_number_of_rounds(self):
        for arguments in (("--rounds", "many"), ("--seconds",)):
            found = run("scripts/perf", *arguments)
            self.assertEqual(found.returncode, 2)
            self.assertEqual(found.stdout, f"{arguments[0]} takes a number; --help says more\n")

    def test_what_is_missing_is_named_and_nothing_that_only_the_tests_need(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in NEEDED_BY_THE_SCRIPTS:
                os.symlink(shutil.which(name), pathlib.Path(folder) / name)
            for script in SCRIPTS:
                found = run(script, "--no-install", env={"PATH": folder})
                self.assertEqual(found.returncode, 3, found.stdout + found.stderr)
                self.assertIn("cmake is missing; it configures the build: apt-get install cmake",
                              found.stdout.splitlines())
                self.assertNotIn("strace", found.stdout)
                self.assertEqual(found.stderr, "")


class failures(unittest.TestCase):
    def test_a_build_that_fails_shows_its_end_and_names_its_log(self):
        """In a copy of the scripts, with a cmake that fails."""
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder)
            shutil.copytree(ROOT / "scripts", tree / "scripts")
            (tree / "bin").mkdir()
            cmake = tree / "bin/cmake"
            cmake.write_text("#!/bin/sh\necho '[1/2] no compiler works'; exit 7\n")
            cmake.chmod(0o755)
            path = f"{tree / 'bin'}:{os.environ['PATH']}"
            for script, log in zip(SCRIPTS, ("demo_build", "perf_build")):
                found = run(script, "--no-install", root=tree, env=os.environ | {"PATH": path})
                where = tree / "build/logs" / f"{log}.log"
                self.assertEqual(found.returncode, 1, found.stdout + found.stderr)
                self.assertIn("no compiler works", found.stdout)
                if script == "scripts/demo":
                    self.assertRegex(found.stdout, r"(?m)^compiler: g\+\+ [^,]*$")
                self.assertEqual(found.stderr, f"{log} failed with status 7; the whole log is "
                                 f"{where.resolve()}\n")
                self.assertIn("no compiler works", where.read_text(encoding="utf-8"))

    def test_an_interruption_ends_what_was_started(self):
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder)
            shutil.copytree(ROOT / "scripts", tree / "scripts")
            (tree / "bin").mkdir()
            cmake = tree / "bin/cmake"
            cmake.write_text(f"#!/bin/sh\necho $$ >{folder}/new; mv {folder}/new {folder}/pid\n"
                             "exec sleep 60\n")
            cmake.chmod(0o755)
            path = f"{tree / 'bin'}:{os.environ['PATH']}"
            for number in (signal.SIGHUP, signal.SIGTERM):
                with subprocess.Popen(
                        [shutil.which("bash"), tree / "scripts/perf", "--no-install"],
                        env=os.environ | {"PATH": path}, stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE, text=True) as script:
                    while not (tree / "pid").exists():
                        self.assertIsNone(script.poll())
                        time.sleep(0.01)
                    started = int((tree / "pid").read_text())
                    (tree / "pid").unlink()
                    script.send_signal(number)
                    self.assertEqual(script.wait(20), 1)
                    self.assertIn("perf_build was interrupted", script.stderr.read())
                end = time.monotonic() + 20
                while pathlib.Path(f"/proc/{started}/exe").exists() and time.monotonic() < end:
                    time.sleep(0.01)
                self.assertFalse(pathlib.Path(f"/proc/{started}/exe").exists(), number)


SERVER = """import signal, sys, time
print("listening 127.0.0.1:9", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else lambda *_: sys.exit(0))
time.sleep(60)
"""
MEASURING = """import pathlib, sys
sys.path.insert(0, "tests/tools")
if status == 0:
    import report_test
    pathlib.Path("build/perf/report.json").write_text(report_test.json.dumps(report_test.results()))
sys.exit(status)
"""


class steps_of_the_demo(unittest.TestCase):
    """In a copy of the scripts, where programs of a few lines stand for what is built."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.tree = pathlib.Path(holder.name)
        for folder in ("scripts", "perf"):
            shutil.copytree(ROOT / folder, self.tree / folder,
                            ignore=shutil.ignore_patterns("__pycache__"))
        (self.tree / "tests/tools").mkdir(parents=True)
        shutil.copy(ROOT / "tests/tools/report_test.py", self.tree / "tests/tools")
        self.program("bin/cmake", "")
        self.program("build/release/examples/echo_client", "")
        self.program("build/release/examples/shared_connection_demo",
                     "import sys; print('given', sys.argv[1:])")
        self.program("build/release/examples/pool_demo",
                     "import sys; print('pools', sys.argv[1:])")
        (self.tree / "build/perf").mkdir()
        (self.tree / "build/perf/report.json").write_text("of the run before")

    def program(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)

    def demo(self, status=0, deaf=False):
        self.program("build/release/examples/01_echo_server", f"deaf = {deaf}\n{SERVER}")
        self.program("perf/arena_stub.py", f"status = {status}\n{MEASURING}")
        script = self.tree / "scripts/demo"  # report_test needs the real one beside it
        script.write_text(script.read_text().replace("arena.py", "arena_stub.py"))
        path = f"{self.tree / 'bin'}:{os.environ['PATH']}"
        return run("scripts/demo", "--no-install", root=self.tree,
                   env=os.environ | {"PATH": path, "CORO_SOURCE_DIR": str(self.tree)}, timeout=300)

    def test_it_ends_with_what_was_seen(self):
        found = self.demo()
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        self.assertIn("given ['0', '--speed', '3']", found.stdout)
        self.assertIn("pools ['--seconds', '0.5', '--svg', '", found.stdout)
        self.assertIn("pools ['--seconds', '0.5', '--service', '1', '--svg', '", found.stdout)
        self.assertIn("did so in order, and answered 0", found.stdout)
        self.assertRegex(found.stdout, r"What was seen \(it took 0 min \d+ s after the packages\):")
        self.assertIn("64 connections: a thread for each costs 2.0 times the CPU", found.stdout)
        self.assertIn("Read on:", found.stdout)

    def test_a_crash_presents_nothing_of_the_run_before(self):
        found = self.demo(status=70)
        self.assertEqual(found.returncode, 1, found.stdout)
        self.assertIn("the comparison ended with status 70", found.stderr)
        self.assertNotIn("What was seen", found.stdout)
        self.assertFalse((self.tree / "build/perf/report.json").exists())

    def test_a_comparison_without_a_report_has_failed(self):
        found = self.demo(status=1)
        self.assertEqual(found.returncode, 1, found.stdout)
        self.assertIn("left no build/perf/report.json", found.stderr)
        self.assertNotIn("What was seen", found.stdout)

    def test_a_server_that_does_not_end_is_killed_with_a_sentence(self):
        found = self.demo(deaf=True)
        self.assertEqual(found.returncode, 1, found.stdout)
        self.assertIn("was still there 5 s after SIGTERM, and was killed", found.stderr)
        self.assertIn("the echo server did not end with 0", found.stderr)


if __name__ == "__main__":
    unittest.main()
