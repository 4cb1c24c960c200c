#!/usr/bin/env python3
# ctest: timeout=180
"""The README tells the truth: its program and its CMakeLists.txt build against the package of this
build tree, the program echoes and ends with 0, and what the page names exists."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
CXX = os.environ.get("CXX", "g++")
PATIENCE = 20  # seconds, against hanging only
PRINTED_PORT = "loopback(7000)"
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def listening_port(process):
    """The port that the kernel chose for it: its socket that listens, by /proc."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        proc = pathlib.Path(f"/proc/{process.pid}")
        own = {os.readlink(each) for each in proc.glob("fd/*") if each.is_symlink()}
        for line in (proc / "net/tcp").read_text(encoding="utf-8").splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in own:
                return int(fields[1].split(":")[1], 16)
        time.sleep(0.01)
    raise AssertionError("the program does not listen")


def build(folder, name, program, listing):
    """Configures and builds the README's project around `program`; the path of the result."""
    source = folder / name
    source.mkdir()
    (source / "main.cpp").write_text(program, encoding="utf-8")
    (source / "CMakeLists.txt").write_text(listing, encoding="utf-8")
    for command in (
        ["cmake", "-S", source, "-B", source / "build", "-G", "Ninja", f"-Dcoro_DIR={BUILD}",
         f"-DCMAKE_CXX_COMPILER={CXX}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"],
        ["cmake", "--build", source / "build"],
    ):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise AssertionError(f"{command}\n{run.stdout}{run.stderr}")
    return source / "build" / "echo"


class readme(unittest.TestCase):
    page = (ROOT / "README.md").read_text(encoding="utf-8")

    def test_has_one_program_and_one_project(self):
        self.assertEqual(len(blocks(self.page, "cpp")), 1)
        self.assertEqual(len(blocks(self.page, "cmake")), 1)
        self.assertEqual(blocks(self.page, "cpp")[0].count(PRINTED_PORT), 1)

    def test_program_echoes_and_ends_with_0(self):
        program, listing = blocks(self.page, "cpp")[0], blocks(self.page, "cmake")[0]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            # Any port instead of the printed one, which somebody may have.
            echo = build(folder, "echo", program.replace(PRINTED_PORT, "loopback(0)"), listing)
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

    def test_commands_exist(self):
        for line in "".join(blocks(self.page, "sh")).replace("\\\n", " ").split("\n"):
            for command in filter(None, (part.strip() for part in line.split("&&"))):
                words = command.split()
                if words[0] in ("python3", "bash"):
                    words = words[1:]
                here = ROOT / words[0]
                self.assertTrue(here.is_file() or shutil.which(words[0]), f"{words[0]} is nowhere")

    def test_presets_and_programs_exist(self):
        presets = (ROOT / "CMakePresets.json").read_text(encoding="utf-8")
        for preset in re.findall(r"--preset (\w+)", self.page):
            self.assertIn(f'"name": "{preset}"', presets)
        for contender in re.findall(r"contenders/(\w+)", self.page):
            self.assertTrue((ROOT / f"perf/contenders/{contender}.cpp").exists(), contender)


if __name__ == "__main__":
    unittest.main()
