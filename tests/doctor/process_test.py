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
    elif what == "twins":
        kept.append(socket.create_server(("127.0.0.1", 0), reuse_port=True))
        kept.append(socket.create_server(kept[-1].getsockname(), reuse_port=True))
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
        self.assertNotIn("judged_for", report)
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
        self.assertEqual(row["unit"], "count, ms, ms")
        # On a machine that is busy for a minute it is an old one.
        self.assertEqual(row["severity"], "note" if most < 60000 else "warning")

    def test_listeners_that_share_an_address_have_names_of_their_own(self):
        self.server.do("twins")
        _, _, report = self.examine()
        names = [row["name"] for row in report["rows"]]
        self.assertEqual(len(names), len(set(names)))
        second = [name for name in names if name.endswith(" (2)")]
        self.assertEqual(len(second), 1)
        self.assertIn(second[0].removesuffix(" (2)"), names)

    def test_a_zombie_is_not_called_corrupt(self):
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            code, report = ask("--pid", ended.pid)
            rows = rows_of(report)
            self.assertEqual(code, 0)
            for name in ("descriptors", "memory"):
                self.assertEqual((rows[name]["value"], rows[name]["severity"]), ("none", "note"))
                self.assertIn("zombie", rows[name]["advice"])

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
        self.assertEqual(report["judged_for"]["connections"], 1000)
        self.assertIn(f"Process {self.server.pid}", rows["a ring of io_uring"]["advice"])

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

    def test_what_the_process_has_counts_as_room(self):
        group = "sys/fs/cgroup"
        files = {"proc/77/status": "Name:\tx\nThreads:\t17\nVmRSS:\t 9000 kB\n"
                                   "RssAnon:\t 8000 kB\nCpus_allowed_list:\t0-3\n",
                 "proc/77/comm": "a b c\n", "proc/77/limits": limits(), "proc/77/cgroup": "0::/\n",
                 "proc/meminfo": "MemTotal: 20000 kB\nMemAvailable: 1000 kB\n",
                 "proc/sys/fs/file-max": "1100\n", "proc/sys/fs/file-nr": "40\t0\t1100\n",
                 "proc/sys/kernel/threads-max": "100\n", "proc/loadavg": "0 0 0 1/98 78\n",
                 group + "/memory.max": "20000000\n", group + "/memory.current": "19000000\n",
                 group + "/pids.max": "20\n", group + "/pids.current": "18\n"}
        files |= {f"proc/77/fd/{number}": "" for number in range(10)}
        judged = ("memory of the machine", "memory of the control group", "fs.file-max",
                  "kernel.threads-max", "pids of the control group")
        with tempfile.TemporaryDirectory() as root:
            write(root, files)
            # 1000 connections take 5 000 000 bytes, 1067 descriptors and 17 threads.
            _, report = ask("--root", root, "--pid", 77, "--connections", 1000)
            rows = rows_of(report)
            self.assertEqual(report["process"], "a b c")
            self.assertEqual([rows[name]["severity"] for name in judged], ["ok"] * 5)
            needs = {need["name"]: need for need in report["needs"]}
            self.assertEqual(needs["memory, both"]["here"], 1000000 + 8000 * 1024)
            self.assertEqual(needs["descriptors, system"]["here"], 1100 - 30)
            self.assertEqual(needs["threads"]["here"], 19)
            # Another program would not have it.
            _, report = ask("--root", root, "--connections", 1000)
            rows = rows_of(report)
            self.assertEqual([rows[name]["severity"] for name in judged],
                             ["problem", "problem", "problem", "problem", "problem"])

    def test_a_process_of_another_network_namespace(self):
        files = {"proc/77/status": "Threads:\t1\n", "proc/77/limits": limits()}
        with tempfile.TemporaryDirectory() as root:
            write(root, files)
            for process, number in (("self", 1), ("77", 2)):
                place = pathlib.Path(root, "proc", process, "ns")
                place.mkdir()
                place.joinpath("net").symlink_to(f"net:[{number}]")
            _, report = ask("--root", root, "--pid", 77, "--connections", 1000)
        rows = rows_of(report)
        for name in ("net.core.somaxconn", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_rmem",
                     "net.ipv4.tcp_congestion_control", "net.netfilter.nf_conntrack_max"):
            self.assertEqual(rows[name]["value"], "unknown (another network namespace)")
            self.assertEqual((rows[name]["severity"], rows[name]["numbers"]), ("note", []))
            self.assertIn("nsenter -t 77 -n coro-doctor --pid 77", rows[name]["advice"])
        self.assertEqual(len(rows["net.ipv4.tcp_mem"]["numbers"]), 3)  # it is the machine's
        self.assertNotIn("local addresses, outgoing", [need["name"] for need in report["needs"]])

    def test_a_status_that_cannot_be_read_is_no_garbage(self):
        with tempfile.TemporaryDirectory() as root:
            write(root, {"proc/77/status/a_folder": ""})
            _, report = ask("--root", root, "--pid", 77)
        for name in ("threads", "memory"):
            self.assertEqual(rows_of(report)[name]["value"], "unknown (Is a directory)")

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
