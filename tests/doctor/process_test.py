#!/usr/bin/env python3
# ctest: timeout=60
"""coro-doctor --pid: what it tells of a process whose sockets this test knows, and how it asks for
a task dump."""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import machines
from machines import PATIENCE, ask, limits, rows_of, run, write

# Does on its stdin's word what a test wants, and says so: sockets with known states.
SERVER = """
import resource, signal, socket, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
def caught(number, frame):
    sys.stderr.write("dump written\\n")
    sys.stderr.flush()
kept = []
listener = socket.create_server(("127.0.0.1", 0), backlog=4)
def thread_named(name):
    ready, over = threading.Event(), threading.Event()
    def body():
        with open("/proc/thread-self/comm", "w") as comm:
            comm.write(name)
        ready.set()
        over.wait()
    threading.Thread(target=body, daemon=True).start()
    ready.wait()
print(listener.getsockname()[1], flush=True)
for line in sys.stdin:
    what, *more = line.split()
    if what == "accept":
        kept.append(listener.accept()[0])
    elif what == "end":  # waits for the end of the stream, and keeps the socket
        while kept[int(more[0])].recv(4096):
            pass
    elif what == "open":
        kept += [open("/dev/null") for _ in range(int(more[0]))]
    elif what == "catch":
        signal.signal(int(more[0]), caught)
    elif what == "thread":
        thread_named(more[0])
    print("done", flush=True)
"""


class server:
    def __init__(self, test):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        self.port = int(self.process.stdout.readline())
        self.pid = self.process.pid

    def end(self):
        self.process.kill()
        self.process.communicate()

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise AssertionError(f"the server has not done {words}")

    def connect(self, test):
        end = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        test.addCleanup(end.close)
        return end

    def said(self):
        """A line of its stderr, None when there is none."""
        ready, _, _ = select.select([self.process.stderr], [], [], 0)
        return self.process.stderr.readline() if ready else None


class census(unittest.TestCase):
    def setUp(self):
        self.server = server(self)
        self.listener = f"listener 127.0.0.1:{self.server.port}"

    def examine(self, *arguments):
        code, report = ask("--pid", self.server.pid, *arguments)
        for row in report["rows"]:
            for part in ("name", "value", "meaning", "advice", "source"):
                self.assertTrue(row[part].strip(), (row["name"], part))
        return code, rows_of(report), report

    def fill_queue(self, count):
        """Connects; the last step of a handshake may be worked off a little later."""
        for _ in range(count):
            self.server.connect(self)
        until = time.monotonic() + PATIENCE
        while True:
            _, rows, _ = self.examine("--no-dump")
            waiting = rows[self.listener]["numbers"][0]
            if waiting == count:
                return
            self.assertLess(waiting, count)
            self.assertLess(time.monotonic(), until, "the queue does not fill")

    def test_a_server_in_order(self):
        self.server.connect(self)
        self.server.do("accept")
        self.fill_queue(1)
        code, rows, report = self.examine()
        self.assertEqual(code, 0)
        self.assertEqual(report["pid"], self.server.pid)
        self.assertEqual(report["sockets"], {"ESTABLISHED": 1, "LISTENING": 1})
        self.assertEqual(rows[self.listener]["numbers"], [1, 4])
        self.assertEqual(rows["CLOSE_WAIT"]["numbers"], [0])
        used, limit = rows["descriptors"]["numbers"]
        self.assertEqual(limit, 256)
        self.assertEqual(used, len(os.listdir(f"/proc/{self.server.pid}/fd")))
        self.assertEqual(rows["threads"]["numbers"], [1])
        resident, own = rows["memory"]["numbers"]
        self.assertGreater(resident, own)
        self.assertGreater(own, 0)
        self.assertNotIn("needs", report)
        self.assertNotIn("fs.nr_open", rows)

    def test_a_queue_that_fills(self):
        self.fill_queue(3)
        code, rows, _ = self.examine()
        self.assertEqual((code, rows[self.listener]["severity"]), (1, "warning"))
        for _ in range(3):
            self.server.do("accept")
        self.fill_queue(5)  # the kernel holds one more than the backlog
        code, rows, _ = self.examine()
        self.assertEqual(rows[self.listener]["numbers"], [5, 4])
        self.assertEqual((code, rows[self.listener]["severity"]), (2, "problem"))

    def test_close_wait(self):
        end = self.server.connect(self)
        self.server.do("accept")
        name = "{}:{}".format(*end.getsockname())
        end.close()
        self.server.do("end", 0)
        _, rows, report = self.examine()
        self.assertEqual(report["sockets"]["CLOSE_WAIT"], 1)
        row = rows["CLOSE_WAIT"]
        count, least, most = row["numbers"]
        self.assertEqual(count, 1)
        self.assertLessEqual(least, most)
        self.assertIn(name, row["advice"])
        # On a machine that is busy for a minute it is an old one.
        self.assertEqual(row["severity"], "note" if least < 60000 else "warning")

    def test_descriptors_that_run_out(self):
        self.server.do("open", 210)
        code, rows, _ = self.examine()
        self.assertEqual((code, rows["descriptors"]["severity"]), (1, "warning"))
        self.server.do("open", 256 - 1 - len(os.listdir(f"/proc/{self.server.pid}/fd")))
        code, rows, _ = self.examine()
        self.assertEqual((code, rows["descriptors"]["severity"]), (2, "problem"))
        self.assertIn("prlimit", rows["descriptors"]["advice"])

    def test_its_limits_are_judged(self):
        code, rows, report = self.examine("--connections", 1000)
        self.assertEqual(code, 2)
        self.assertEqual(rows["RLIMIT_NOFILE"]["numbers"], [256, 256])
        self.assertEqual(rows["RLIMIT_NOFILE"]["source"], f"/proc/{self.server.pid}/limits")
        self.assertEqual(rows["RLIMIT_NOFILE"]["severity"], "problem")
        self.assertIn("needs", report)

    def test_a_dump_is_asked_for_where_it_can_be(self):
        number = int(signal.SIGUSR1)
        _, rows, _ = self.examine()
        self.assertEqual(rows["task dump"]["value"], "not asked for (no dump signal)")
        # A name alone is not believed: without a handler the signal would end the process.
        self.server.do("thread", f"coro-dump-{number}")
        _, rows, _ = self.examine()
        self.assertEqual(rows["task dump"]["value"], "not asked for (no handler)")
        self.server.do("catch", number)
        _, rows, _ = self.examine("--no-dump")
        self.assertNotIn("task dump", rows)
        self.server.do("open", 1)
        self.assertIsNone(self.server.said())
        _, rows, _ = self.examine()
        self.assertEqual(rows["task dump"]["numbers"], [number])
        self.assertRegex(rows["task dump"]["advice"], r"pipe:\[\d+\]")
        self.server.do("open", 1)  # by then its handler has run
        self.assertEqual(self.server.said(), "dump written\n")

    def test_a_server_of_coro_writes_its_dump(self):
        program = machines.PROGRAM.parents[2] / "tests/dumped_server"
        with subprocess.Popen([program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as asked:
            try:
                port = int(asked.stdout.readline())
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as end:
                    end.sendall(b"x")
                    self.assertEqual(end.recv(1), b"x")
                    _, report = ask("--pid", asked.pid)
                    rows = rows_of(report)
                    self.assertEqual(rows["task dump"]["numbers"], [int(signal.SIGQUIT)])
                    self.assertEqual(rows[f"listener 127.0.0.1:{port}"]["numbers"][0], 0)
                    self.assertEqual(report["sockets"], {"ESTABLISHED": 1, "LISTENING": 1})
                    name = "{}:{}".format(*end.getsockname())
                    line = asked.stderr.readline()  # a test that waits for ever is ended by ctest
                    while line and name not in line:
                        line = asked.stderr.readline()
                    self.assertIn(name, line)
            finally:
                asked.terminate()
                asked.communicate()
            self.assertEqual(asked.returncode, 0)

    def test_names_that_are_no_dump_signal(self):
        for name in ("coro-dump-", "coro-dump-0", "coro-dump-99", "coro-dump-x", "coro-dump--3"):
            self.server.do("thread", name)
        _, rows, _ = self.examine()
        self.assertEqual(rows["task dump"]["value"], "not asked for (no dump signal)")

    def test_text(self):
        self.fill_queue(1)
        done = run("--pid", self.server.pid)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = done.stdout.split("\n")
        self.assertEqual([line for line in lines if len(line) > 100 or line != line.rstrip()], [])
        self.assertIn(f"process {self.server.pid} (", lines[0])
        self.assertRegex(done.stdout, rf"ok +{re.escape(self.listener)} +1 of 4\n")

    def test_no_such_process(self):
        with tempfile.TemporaryDirectory() as root:
            done = run("--root", write(root), "--pid", 77)
        self.assertEqual((done.returncode, done.stdout), (66, ""))
        self.assertIn("cannot examine process 77", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_a_process_made_of_files(self):
        status = "Threads:\t5\nVmRSS:\t  2000 kB\nRssAnon:\t  1000 kB\nVmSwap:\t  100 kB\n"
        files = {"proc/77/status": status, "proc/77/comm": "server\n",
                 "proc/77/limits": limits(soft=4), "proc/77/fd/0": "", "proc/77/fd/1": "",
                 "proc/77/task/77/comm": "server\n", "proc/77/task/78/comm": "coro-dump-3\n"}
        with tempfile.TemporaryDirectory() as root:
            _, report = ask("--root", write(root, files), "--pid", 77)
            rows = rows_of(report)
            self.assertEqual(report["process"], "server")
            self.assertEqual(rows["descriptors"]["numbers"], [2, 4])
            self.assertEqual(rows["memory"]["severity"], "note")
            self.assertEqual(rows["task dump"]["value"], "not asked for (no handler)")
            caught = pathlib.Path(root, "proc/77/status")
            caught.write_text(status + "SigCgt:\t0000000000000004\n", encoding="ascii")
            _, report = ask("--root", root, "--pid", 77)
            self.assertEqual(rows_of(report)["task dump"]["value"], "not asked for (--root)")
            caught.write_text("garbage\n", encoding="ascii")
            code, report = ask("--root", root, "--pid", 77)
            self.assertEqual((code, rows_of(report)["threads"]["severity"]), (1, "warning"))

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_of_another_user(self):
        with tempfile.TemporaryDirectory() as folder:  # the build tree may be closed to others
            os.chmod(folder, 0o755)
            mine = shutil.copy(machines.PROGRAM, folder)
            try:
                done = subprocess.run([mine, "--json", "--pid", str(self.server.pid)],
                                      capture_output=True, text=True, timeout=PATIENCE, check=False,
                                      user=65534, group=65534, extra_groups=[])
            except OSError as refused:
                self.skipTest(f"nobody cannot run a program here: {refused}")
        report = json.loads(done.stdout)
        rows = rows_of(report)
        self.assertIn("may not be read", rows["descriptors"]["value"])
        self.assertEqual(rows["sockets of TCP"]["value"], "unknown")
        self.assertIn("root", rows["sockets of TCP"]["advice"])


if __name__ == "__main__":
    unittest.main()
