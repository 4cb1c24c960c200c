#!/usr/bin/env python3
# ctest: timeout=120
"""scripts/coro_new writes a program of 12 lines that builds against the installed package and
echoes; it leaves alone what is there, and says what is wrong with a name."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from package import BUILD, ROOT, configure, install

PATIENCE = 120  # seconds, against hanging only


def coro_new(folder, *arguments):
    run = subprocess.run(
        [ROOT / "scripts/coro_new", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def port_of(process):
    """The port on which the program listens, from the kernel: it prints none."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        own = set()
        for entry in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                own.add(os.readlink(entry))
        for line in pathlib.Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:  # TCP_LISTEN
                return int(fields[1].split(":")[1], 16)
        time.sleep(0.01)
    raise AssertionError(f"it does not listen; its status is {process.poll()}")


def converse(port):
    """What the program answers to `hello`."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"hello")
        return client.recv(5, socket.MSG_WAITALL)


class new(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def test_what_it_writes_builds_and_runs(self):
        status, said = coro_new(self.folder, "hello")
        self.assertEqual(status, 0, said)
        main = self.folder / "hello/main.cpp"
        text = main.read_text(encoding="utf-8")
        self.assertEqual(len(text.splitlines()), 12)
        for line in ("cmake -S hello -B hello/build -DCMAKE_PREFIX_PATH=",
                     "cmake --build hello/build\n",
                     "hello/build/hello    # listens on 127.0.0.1:7000"):
            self.assertIn(line, said)
        # Any free port instead of that one, which somebody may have.
        self.assertEqual(text.count("loopback(7000)"), 1)
        main.write_text(text.replace("loopback(7000)", "loopback(0)"), encoding="utf-8")

        prefix = install(BUILD, self.folder)
        tree = self.folder / "build"
        flags = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"
        for command in (
            configure(self.folder / "hello", tree, f"-DCMAKE_PREFIX_PATH={prefix}", flags),
            ["cmake", "--build", tree],
        ):
            subprocess.run(command, check=True)
        with subprocess.Popen([tree / "hello"]) as process:
            try:
                self.assertEqual(converse(port_of(process)), b"hello")
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(PATIENCE), 0)
            finally:
                process.kill()

    def test_an_existing_directory_is_left_alone(self):
        (self.folder / "mine").mkdir()
        status, said = coro_new(self.folder, "mine")
        self.assertEqual(status, 1)
        self.assertIn("'mine' is there already", said)
        self.assertEqual(list((self.folder / "mine").iterdir()), [])

    def test_names_that_cannot_be(self):
        reserved = ("test", "coro", "package_source", "list_install_components", "edit_cache",
                    "rebuild_cache", "install/local", "ALL_BUILD", "preinstall", "CMakeFiles")
        for name in ("two words", "../up", "1st", "-x", "a/b", "a;b", *reserved):
            with self.subTest(name=name):
                status, said = coro_new(self.folder, name)
                self.assertEqual(status, 2)
                self.assertIn(f"'{name}' cannot be the name of a program", said)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_how_it_is_called(self):
        self.assertEqual(coro_new(self.folder, "--help")[0], 0)
        self.assertEqual(coro_new(self.folder)[0], 2)
        status, said = coro_new(self.folder, "one", "two")
        self.assertEqual(status, 2)
        self.assertIn("one name", said)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where a shell without jobs has started us
    unittest.main()
