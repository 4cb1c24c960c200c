#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""scripts/test --no-install names what is missing, one sentence each, and exits with 3."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
NEEDED_BY_THE_SCRIPT = ("dirname", "env")


class missing_packages(unittest.TestCase):
    def test_each_is_named_with_its_use_and_its_cure(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in NEEDED_BY_THE_SCRIPT:
                os.symlink(shutil.which(name), pathlib.Path(folder) / name)
            run = subprocess.run(
                [shutil.which("bash"), ROOT / "scripts/test", "--no-install", "--stage", "debug"],
                env={"PATH": folder}, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 3, run.stdout + run.stderr)
        lines = run.stdout.splitlines()
        self.assertIn("strace is missing; it counts system calls in the tests: "
                      "apt-get install strace", lines)
        self.assertIn("cmake is missing; it configures the build: apt-get install cmake", lines)
        self.assertEqual(run.stderr, "")

    def test_databases_are_asked_for_by_all_alone(self):
        for option, named in (("--all", True), ("--full", False)):
            with tempfile.TemporaryDirectory() as folder:
                for name in NEEDED_BY_THE_SCRIPT:
                    os.symlink(shutil.which(name), pathlib.Path(folder) / name)
                run = subprocess.run(
                    [shutil.which("bash"), ROOT / "scripts/test", "--no-install", option],
                    env={"PATH": folder}, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 3, run.stdout + run.stderr)
            self.assertEqual(named, "redis-server is missing; it is a real server for the tests: "
                                    "apt-get install redis-server" in run.stdout.splitlines())

    def test_where_they_are_missing_it_says_that_tests_are_skipped(self):
        run = subprocess.run(
            [shutil.which("bash"), "-c", f"source {ROOT}/scripts/packages.sh\nsay_what_is_skipped "
             "'no-such-tool | a-server | answers' 'bash | bash | is there'"],
            capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (
            0, "a-server is missing, so tests are skipped; it answers\n", ""))

    def install(self, refused, with_apt=True):
        """What install_missing says where "tool" is missing, and the comforts too; (status, output,
        what was installed)."""
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            for name in ("env", "mkdir", "tail", "cp"):
                os.symlink(shutil.which(name), place / name)
            stubs = {"sudo": 'exec "$@"', "apt-get": f"""
[ "$1" = install ] || exit 0
for name in "$@"; do [ "$name" != {refused} ] || {{ echo "no package $name"; exit 100; }}; done
echo "$@" >>{folder}/calls
case "$*" in *tool-package*) cp {folder}/sudo {folder}/tool;; esac"""}
            for name, text in stubs.items():
                if name == "apt-get" and not with_apt:
                    continue
                (place / name).write_text(f"#!/bin/sh\n{text}\n")
                (place / name).chmod(0o755)
            rows = "env" if not with_apt else "tool | tool-package | works"
            run = subprocess.run(
                [shutil.which("bash"), "-c", f"root={folder} logs={folder} may_install=1\n"
                 f'source {ROOT}/scripts/packages.sh\ninstall_missing "{rows}"; echo went on'],
                env={"PATH": folder}, capture_output=True, text=True, check=False)
            calls = place / "calls"
            return run.returncode, run.stdout + run.stderr, \
                calls.read_text(encoding="utf-8") if calls.exists() else ""

    def test_a_comfort_that_cannot_be_had_keeps_from_nothing(self):
        status, said, calls = self.install("ccache")
        self.assertEqual(status, 0, said)
        self.assertIn("tool-package", calls)
        self.assertIn("went on", said)
        if os.geteuid() == 0:  # others may have no comforts put in when nothing is needed
            status, said, _ = self.install("", with_apt=False)
            self.assertEqual(status, 0, said)
            self.assertIn("it goes on without them\nwent on", said)

    def test_what_is_needed_and_cannot_be_had_ends_with_3(self):
        status, said, _ = self.install("tool-package")
        self.assertEqual(status, 3, said)
        self.assertIn("tool-package is needed, and tool is still not there", said)
        self.assertNotIn("went on", said)


if __name__ == "__main__":
    unittest.main()
