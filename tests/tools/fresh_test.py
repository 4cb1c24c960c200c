#!/usr/bin/env python3
"""scripts/fresh says how it is called, and what is wrong, before it touches anything. What it does
needs root, the network and an hour: run it by hand."""
import os
import pathlib
import re
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


def function_of(name, *arguments, **more):
    """Runs one function of the script alone."""
    text = (ROOT / "scripts/fresh").read_text(encoding="utf-8")
    body = re.search(rf"^{name}\(\) {{.*?^}}$", text, re.MULTILINE | re.DOTALL).group(0)
    run = subprocess.run(["bash", "-c", f'{body}\n{name} "$@"', "bash", *arguments],
                         capture_output=True, text=True, check=False, **more)
    return run.returncode, run.stdout + run.stderr


class parts_of_it(unittest.TestCase):
    def test_a_demo_of_four_minutes_has_failed(self):
        demo = (ROOT / "scripts/demo").read_text(encoding="utf-8")
        line = re.search(r'^echo "(What was seen .*)"$', demo, re.MULTILINE).group(1)
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "log")
            for seconds, wanted in ((0, 0), (239, 0), (240, 1), (725, 1)):
                said = subprocess.run(["bash", "-c", f'SECONDS={seconds}; echo "{line}"'],
                                      capture_output=True, text=True, check=True).stdout
                log.write_text("==> something else took 9 minutes\n" + said)
                status, told = function_of("in_time", log)
                self.assertEqual(status, wanted, said + told)
            log.write_text("nothing\n")
            self.assertEqual(function_of("in_time", log), (1, "the demo did not say how long it "
                                                              "took\n"))

    def test_of_the_settings_of_apt_only_the_way_to_packages_is_kept(self):
        settings = ('Acquire "";', 'Acquire::http::Proxy "http://proxy:1/";',
                    'Acquire::Languages:: "none";', 'Acquire::Check-Date "false";',
                    'Acquire::http::Proxy-Auto-Detect "/usr/bin/find-proxy";',
                    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
                    'DPkg::Post-Invoke:: "/usr/bin/hook";', 'APT::Update::Post-Invoke:: "hook";')
        with tempfile.TemporaryDirectory() as folder:
            stub = pathlib.Path(folder, "apt-config")
            stub.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(settings) + "\nEND\n")
            stub.chmod(0o755)
            kept = function_of("acquire_settings",
                               env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"})
        self.assertEqual(kept, (0, "\n".join(settings[1:4]) + "\n"))


if __name__ == "__main__":
    unittest.main()
