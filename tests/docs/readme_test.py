#!/usr/bin/env python3
# ctest: timeout=180
"""The README tells the truth: its program and its CMakeLists.txt build against the package of this
build tree, the program echoes and ends with 0, the commands are there and know their options."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from pages import (
    ANY_PORT,
    BUILD,
    CXX,
    PATIENCE,
    PRINTED_PORT,
    ROOT,
    blocks,
    listening_port,
)

RUN_IT = " && build/echo\n"
LANGUAGES = {"cpp", "cmake", "sh"}  # a block of another one would be looked at by nobody


def build(folder, page):
    """Builds the project of the page as the page says; the path of its program."""
    program = blocks(page, "cpp")[0].replace(PRINTED_PORT, ANY_PORT)
    (folder / "main.cpp").write_text(program, encoding="utf-8")
    (folder / "CMakeLists.txt").write_text(blocks(page, "cmake")[0], encoding="utf-8")
    (command,) = [block for block in blocks(page, "sh") if block.endswith(RUN_IT)]
    environment = {**os.environ, "coro_DIR": str(BUILD), "CXX": CXX, "CMAKE_GENERATOR": "Ninja",
                   "CXXFLAGS": "-Wall -Wextra -Werror"}
    run = subprocess.run(["bash", "-c", command.removesuffix(RUN_IT)], cwd=folder, env=environment,
                         capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{command}\n{run.stdout}{run.stderr}")
    return folder / "build/echo"


class readme(unittest.TestCase):
    page = (ROOT / "README.md").read_text(encoding="utf-8")

    def test_has_one_program_and_one_project(self):
        self.assertEqual(len(blocks(self.page, "cpp")), 1)
        self.assertEqual(len(blocks(self.page, "cmake")), 1)
        self.assertEqual(blocks(self.page, "cpp")[0].count(PRINTED_PORT), 1)

    def test_program_echoes_and_ends_with_0(self):
        with tempfile.TemporaryDirectory() as name:
            echo = build(pathlib.Path(name), self.page)
            for how in (signal.SIGINT, signal.SIGTERM):
                with subprocess.Popen([echo], stderr=subprocess.PIPE, text=True) as process:
                    try:
                        where = ("127.0.0.1", listening_port(process))
                        with socket.create_connection(where, timeout=PATIENCE) as client:
                            client.sendall(b"hello")
                            self.assertEqual(client.recv(5, socket.MSG_WAITALL), b"hello")
                            process.send_signal(how)
                            _, err = process.communicate(timeout=PATIENCE)
                    finally:
                        process.kill()
                self.assertEqual((process.returncode, err), (0, ""))

    def test_no_block_escapes(self):
        self.assertLessEqual(set(re.findall(r"^```(\w+)$", self.page, re.MULTILINE)), LANGUAGES)

    def test_commands_exist_and_know_their_options(self):
        lines = "".join(blocks(self.page, "sh")).replace("\\\n", " ").replace(RUN_IT, "\n")
        commands = [each.split() for each in re.split(r"&&|\n", lines) if each.strip()]
        self.assertIn(["scripts/demo"], commands)
        self.assertIn(["scripts/test"], commands)
        for words in commands:
            script = ROOT / words[0]
            if not script.is_file():
                self.assertTrue(shutil.which(words[0]), f"{words[0]} is nowhere")
                continue
            said = self.help_of(script)
            for option in (word for word in words if word.startswith("--")):
                self.assertIn(option, said.split(), f"{words[0]} does not know {option}")

    def test_options_in_the_prose_exist(self):
        for script, options in (("demo", ["--no-install"]), ("test", ["--no-install", "--all"])):
            for option in options:
                self.assertIn(f"`{option}`", self.page)
                said = self.help_of(ROOT / "scripts" / script)
                self.assertIn(option, re.findall(r"--[a-z-]+", said))

    def help_of(self, script):
        run = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, script)
        return run.stdout

    def test_presets_exist(self):
        presets = (ROOT / "CMakePresets.json").read_text(encoding="utf-8")
        for preset in re.findall(r"--preset (\w+)", self.page):
            self.assertIn(f'"name": "{preset}"', presets)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
