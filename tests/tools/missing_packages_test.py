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


if __name__ == "__main__":
    unittest.main()
