#!/usr/bin/env python3
# ctest: timeout=180 serial
"""The tutorial tells the truth: its programs build by its CMake lines against the package of this
build tree, and do on io_uring and on epoll what the page shows.

How the page is read, from top to bottom:

    ```cpp          a file, named by its first line
    ```cmake        CMakeLists.txt
    ```sh           `cmake ...` is the build; `build/NAME` starts a server;
                    `kill -HUP $(pidof NAME)` signals it; the rest is run as it stands
    ```text         $ nc ...          a new connection; `>` is said, the rest must come back
                    > ...             more of the last connection; after Ctrl-C its end
                    ^C                Ctrl-C for the server that runs
                    $ build/NAME ...  what the server has printed, or a program from start to end

A heading ends what runs: the clients leave, the server gets Ctrl-C, must answer 0, and may have
printed nothing that the page does not show.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import unittest.mock

from pages import (
    ANY_PORT,
    BUILD,
    CXX,
    PATIENCE,
    PRINTED_PORT,
    ROOT,
    blocks,
    listening_port,
    ports_of,
)

OUTPUT_PATIENCE = PATIENCE
PAGE = ROOT / "docs/tutorial.md"
POLLERS = ["io_uring", "epoll"]
PARTS = re.compile(r"^## (?P<heading>[^\n]*)$|^```(?P<language>\w+)\n(?P<body>.*?)^```$",
                   re.MULTILINE | re.DOTALL)


class Untrue(AssertionError):
    """The page says something else than what happens."""


def files_of(text):
    """{name: text} of the programs, by their first line."""
    found = {}
    for block in blocks(text, "cpp"):
        name = re.match(r"// (\w+\.[ch]pp)\n", block)
        if not name or name.group(1) in found:
            raise Untrue(f"a program needs a file of its own in its first line: {block[:40]!r}")
        found[name.group(1)] = block
    return found


def build(folder, text):
    """Writes the files, and runs the lines of the page that configure and build."""
    for name, program in files_of(text).items():
        (folder / name).write_text(program.replace(PRINTED_PORT, ANY_PORT), encoding="utf-8")
    (folder / "CMakeLists.txt").write_text("".join(blocks(text, "cmake")), encoding="utf-8")
    environment = {**os.environ, "coro_DIR": str(BUILD), "CXX": CXX, "CMAKE_GENERATOR": "Ninja",
                   "CMAKE_BUILD_PARALLEL_LEVEL": "2", "CXXFLAGS": "-Wall -Wextra -Werror"}
    if shutil.which("ccache"):
        environment["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
        environment["CCACHE_BASEDIR"] = str(folder)
        environment["CCACHE_NOHASHDIR"] = "1"
    for command in ("cmake -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=$HOME/.local",
                    "cmake --build build"):
        if f"```sh\n{command}\n```" not in text:
            raise Untrue(f"the page does not say: {command}")
        run = subprocess.run(["bash", "-c", command], cwd=folder, env=environment,
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise Untrue(f"{command}\n{run.stdout}{run.stderr}")


class server:
    """A program that runs until Ctrl-C, as if in a terminal: line by line, both streams."""

    def __init__(self, line, folder, environment):
        self.name = re.match(r"build/(\w+)", line).group(1)
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec stdbuf -oL {line}"], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.port = listening_port(self.process)
        self.told = False  # to end

    def read(self):
        for line in self.process.stdout:
            self.said.append(line)

    def tell(self, number):
        self.told = self.told or number == signal.SIGINT
        self.process.send_signal(number)

    def stop(self):
        """Ctrl-C; returns when no more clients are accepted."""
        self.tell(signal.SIGINT)
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and ports_of(self.process) and time.monotonic() < end:
            time.sleep(0.01)

    def wait(self):
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        return status


class client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.lines = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def talk(self, dialogue):
        for line in dialogue:
            if line.startswith("> "):
                self.socket.sendall((line[2:] + "\n").encode())
            elif (heard := self.lines.readline()) != line + "\n":
                raise Untrue(f"nc shows {heard!r} instead of {line!r}")

    def expect_the_end(self):
        """Soon: long before the drains of the page are over, which would end it too."""
        self.socket.settimeout(PATIENCE / 4)
        try:
            heard = self.lines.readline()
        except OSError as error:
            raise Untrue(f"the connection did not end: {error}") from None
        if heard:
            raise Untrue(f"nc shows {heard!r} instead of the end")

    def close(self):
        with contextlib.suppress(OSError):  # the server may have left first
            self.socket.shutdown(socket.SHUT_WR)
            self.lines.read()
        self.close_at_once()

    def close_at_once(self):
        self.lines.close()
        self.socket.close()


class reader:
    """One who follows the page, in a directory where build/ is."""

    def __init__(self, folder, poller):
        self.folder = folder
        self.environment = {**os.environ, "CORO_POLLER": poller}
        self.server = None
        self.shown = []
        self.clients = []
        self.ran = set()

    def follow(self, text):
        try:
            for part in PARTS.finditer(text):
                if part["heading"]:
                    self.end_step()
                elif part["language"] == "sh":
                    for line in part["body"].splitlines():
                        self.command(line)
                elif part["language"] == "text":
                    self.show(part["body"].splitlines())
            self.end_step()
        finally:
            while self.clients:
                self.clients.pop().close_at_once()
            if self.server:
                self.server.process.kill()
                self.server.wait()

    def command(self, line):
        if line.startswith("build/"):
            self.server = server(line, self.folder, self.environment)
            self.ran.add(self.server.name)
        elif line.startswith("kill "):
            number, name = re.fullmatch(r"kill -(\w+) \$\(pidof (\w+)\)", line).groups()
            if name != self.server.name:
                raise Untrue(f"{line}: what runs is {self.server.name}")
            self.server.tell(signal.Signals["SIG" + number])
        elif not line.startswith("cmake "):
            subprocess.run(["bash", "-c", line], cwd=self.folder, check=True)

    def show(self, lines):
        if lines[0] == "$ nc 127.0.0.1 7000":
            self.clients.append(client(self.server.port))
            self.clients[-1].talk(lines[1:])
        elif lines[0].startswith("> "):
            self.clients[-1].talk(lines)
            if self.server.told:
                self.clients[-1].expect_the_end()
        elif lines == ["^C"]:
            self.server.stop()
        elif match := re.match(r"\$ build/(\w+)", lines[0]):
            wanted = [line + "\n" for line in lines[1:]]
            if self.server and self.server.name == match[1]:
                self.shown = wanted
                self.compare_output()
            else:
                self.run(lines[0][2:], match[1], wanted)
        else:
            raise Untrue(f"what is this: {lines[0]!r}?")

    def run(self, command, name, wanted):
        run = subprocess.run(["stdbuf", "-oL", "bash", "-c", command], cwd=self.folder, text=True,
                             env=self.environment, stdout=subprocess.PIPE, timeout=PATIENCE,
                             stderr=subprocess.STDOUT, check=False)
        if run.stdout != "".join(wanted) or run.returncode != 0:
            raise Untrue(f"{command} prints {run.stdout!r} instead of {''.join(wanted)!r}, "
                         f"and ends with {run.returncode}")
        self.ran.add(name)

    def compare_output(self):
        """What the server has printed; all of it, if it was told to end."""
        if self.server.told:
            self.leave()
            self.server.wait()
        end = time.monotonic() + OUTPUT_PATIENCE
        while len(self.server.said) < len(self.shown) and time.monotonic() < end:
            time.sleep(0.01)
        if self.server.said != self.shown:
            raise Untrue(f"{self.server.name} prints {self.server.said} instead of {self.shown}")

    def leave(self):
        while self.clients:
            self.clients.pop().close()

    def end_step(self):
        if not self.server:
            return
        if not self.server.told:
            self.server.tell(signal.SIGINT)
        self.leave()
        status = self.server.wait()
        self.compare_output()
        if status != 0:
            raise Untrue(f"{self.server.name} ends with {status}")
        self.server, self.shown = None, []


class tutorial(unittest.TestCase):
    page = PAGE.read_text(encoding="utf-8")

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        build(cls.folder, cls.page)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def follow(self, poller, text):
        here = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        (here / "build").symlink_to(self.folder / "build")
        one = reader(here, poller)
        one.follow(text)
        return one

    def test_what_it_shows_is_what_one_sees(self):
        programs = {name[:-4] for name in files_of(self.page) if name.endswith(".cpp")}
        self.assertGreaterEqual(len(programs), 13)
        for poller in POLLERS:
            with self.subTest(poller=poller):
                self.assertEqual(self.follow(poller, self.page).ran, programs)

    def test_what_is_wrong_would_be_seen(self):
        start = "## \n```sh\nbuild/lines\n```\n"
        for wrong in (
            "```text\n$ build/errors\nnothing\n```\n",
            start + "```text\n$ nc 127.0.0.1 7000\n> one\n1: two\n```\n",
            start + "```text\n$ build/lines\na line too many\n```\n## ",
            "```sh\nbuild/service\n```\n## \n",  # it prints what is not shown
        ):
            with self.subTest(page=wrong), unittest.mock.patch(__name__ + ".OUTPUT_PATIENCE", 3):
                self.assertRaises(Untrue, self.follow, "epoll", wrong)

    def test_the_first_program_is_that_of_the_readme(self):
        readme = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "cpp")[0]
        self.assertEqual(files_of(self.page)["echo.cpp"], "// echo.cpp\n" + readme)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
