#!/usr/bin/env python3
"""scripts/fresh says how it is called, and what is wrong, before it touches anything. What it does
needs root, the network and an hour: run it by hand."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))


def fresh(*arguments, script=ROOT / "scripts/fresh"):
    run = subprocess.run([script, *arguments], capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


class fresh_machine(unittest.TestCase):
    def test_how_it_is_called(self):
        status, said = fresh("--help")
        self.assertEqual(status, 0)
        for option in ("--only", "--boost", "TMPDIR"):
            self.assertIn(option, said)

    def test_what_it_does_not_know(self):
        for arguments, sentence in (
            (["--boost", "1.99"], "--boost is 1.74 or 1.81"),
            (["--boost"], "--boost is 1.74 or 1.81"),
            (["--only", "all"], "--only is demo or test"),
            (["--fast"], "there is no option '--fast'"),
        ):
            with self.subTest(arguments=arguments):
                status, said = fresh(*arguments)
                self.assertEqual(status, 2)
                self.assertIn(sentence, said)

    def test_a_tree_that_is_no_checkout(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "scripts/fresh"
            script.parent.mkdir()
            shutil.copy(ROOT / "scripts/fresh", script)
            status, said = fresh("--only", "test", script=script)
            self.assertEqual(status, 3)
            self.assertIn("has no scripts/test", said)
            self.assertEqual(list(pathlib.Path(folder).iterdir()), [script.parent])


if __name__ == "__main__":
    unittest.main()
