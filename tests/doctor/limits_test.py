#!/usr/bin/env python3
# ctest: timeout=60
"""coro-doctor on machines made of files, each with one thing that is not in order; on this machine;
and what it says to bad arguments."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import machines
from machines import ask, limits, needs_of, rows_of, run, write

DENY = pathlib.Path(os.environ.get("CORO_BUILD_DIR", "build/debug"), "tests/deny_uring")
RING = "a ring of io_uring"
CODES = {"ok": 0, "note": 0, "warning": 1, "problem": 2}
ORDER = list(CODES)
GROUP = "sys/fs/cgroup"


class doctor(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def examine(self, changes, *arguments):
        """(exit code, rows by name, the whole report) of a machine with `changes`. What holds of
        every report is checked on the way."""
        with tempfile.TemporaryDirectory(dir=self.folder.name) as root:
            code, report = ask("--root", write(root, changes), *arguments)
        self.check(code, report)
        return code, rows_of(report), report

    def check(self, code, report):
        everything = report["rows"] + report.get("needs", [])
        for row in everything:
            for part in ("name", "meaning", "advice"):
                self.assertTrue(row[part].strip(), (row["name"], part))
            self.assertTrue(row["meaning"].endswith("."), row)
        for row in report["rows"]:
            self.assertTrue(row["value"].strip() and row["source"] and row["section"], row)
            units = row["unit"].split(", ")
            self.assertIn(len(units), (1, len(row["numbers"])), row)
            self.assertLessEqual(set(units), {"count", "bytes", "pages", "s", "thousandths"}, row)
        worst = max((row["severity"] for row in everything), key=ORDER.index)
        self.assertEqual(report["severity"], worst)
        self.assertEqual(code, CODES[worst])
        names = [row["name"] for row in report["rows"]]
        self.assertEqual(len(names), len(set(names)))

    def test_a_healthy_machine(self):
        code, rows, report = self.examine({}, "--connections", 50000)
        self.assertEqual(code, 0)
        self.assertEqual(report["kernel"], "6.12.1")
        told = {name: row["severity"] for name, row in rows.items() if row["severity"] != "ok"}
        self.assertEqual(told, {RING: "note"})
        self.assertIn("--root", rows[RING]["value"])
        self.assertEqual(rows["RLIMIT_NOFILE"]["numbers"], [200000, 1048576])
        self.assertEqual(rows["net.ipv4.tcp_rmem"]["numbers"], [4096, 131072, 6291456])
        self.assertEqual(rows["net.netfilter.nf_conntrack_max"]["value"], "not loaded")
        self.assertEqual({need["severity"] for need in report["needs"]}, {"ok"})

    def test_each_row_can_say_that_something_is_wrong(self):
        v4, fs = "proc/sys/net/ipv4/", "proc/sys/fs/"
        tracked = {"proc/sys/net/netfilter/nf_conntrack_max": "20000",
                   "proc/sys/net/netfilter/nf_conntrack_count": "19500"}
        cases = [
            # the row, what differs, its severity, words of the advice
            ("RLIMIT_NOFILE", {"proc/self/limits": limits(1024, 1024)}, "problem", "LimitNOFILE="),
            ("RLIMIT_NOFILE", {"proc/self/limits": limits(1024, 4096)}, "note", "raises the soft"),
            ("fs.nr_open", {fs + "nr_open": "1000\n"}, "problem", "sysctl -w fs.nr_open="),
            ("fs.file-max", {fs + "file-max": "1500", fs + "file-nr": "1000 0 1500"}, "problem",
             "1000 are open now"),
            ("net.core.somaxconn", {"proc/sys/net/core/somaxconn": "128\n"}, "warning",
             "backlog of 4096 to 128"),
            ("net.ipv4.tcp_syncookies", {v4 + "tcp_syncookies": "0"}, "warning", "flood"),
            ("net.ipv4.tcp_syncookies", {v4 + "tcp_syncookies": "2"}, "note", "Always"),
            ("net.ipv4.tcp_max_syn_backlog",
             {v4 + "tcp_syncookies": "0", v4 + "tcp_max_syn_backlog": "512"}, "warning", "384"),
            ("net.ipv4.tcp_abort_on_overflow", {v4 + "tcp_abort_on_overflow": "1"}, "warning",
             "tcp_abort_on_overflow=0"),
            ("net.core.netdev_max_backlog", {"proc/sys/net/core/netdev_max_backlog": "300"}, "note",
             "=1000"),
            ("net.ipv4.ip_local_port_range", {v4 + "ip_local_port_range": "50000 50099"}, "note",
             "10 local addresses"),
            ("net.ipv4.ip_local_port_range", {v4 + "ip_local_port_range": "60000 50000"}, "warning",
             "no range"),
            ("net.ipv4.tcp_fin_timeout", {v4 + "tcp_fin_timeout": "600"}, "note", "TIME_WAIT"),
            ("net.ipv4.tcp_max_tw_buckets", {v4 + "tcp_max_tw_buckets": "100"}, "note", "forgets"),
            ("net.ipv4.tcp_max_orphans", {v4 + "tcp_max_orphans": "100"}, "note", "beyond 100"),
            ("net.ipv4.tcp_retries2", {v4 + "tcp_retries2": "3"}, "note", "RFC 1122"),
            ("net.ipv4.tcp_rmem", {v4 + "tcp_rmem": "4096 87380 65536"}, "warning", "no"),
            ("net.ipv4.tcp_rmem", {v4 + "tcp_rmem": "4096 65536 65536"}, "warning",
             "tcp_rmem='4096 131072 6291456'"),
            ("net.ipv4.tcp_wmem", {v4 + "tcp_wmem": "4096 16384 131072"}, "warning", "1.2 MiB"),
            ("net.ipv4.tcp_wmem", {v4 + "tcp_wmem": "4096 16384 131072"}, "warning",
             "tcp_wmem='4096 16384 4194304'"),
            ("net.ipv4.tcp_mem", {v4 + "tcp_mem": "1000 2000 3000"}, "note", "8.0 KiB"),
            ("net.ipv4.tcp_mem", {v4 + "tcp_mem": "100 200 300"}, "warning", "819 bytes"),
            ("net.ipv4.tcp_mem", {v4 + "tcp_mem": "300 200 100"}, "warning", "must grow"),
            ("net.ipv4.tcp_congestion_control", {v4 + "tcp_congestion_control": "reno"}, "note",
             "cubic"),
            ("net.netfilter.nf_conntrack_max", tracked, "problem", "table full"),
            ("net.netfilter.nf_conntrack_max",
             {"proc/sys/net/netfilter/nf_conntrack_max": "500",
              "proc/sys/net/netfilter/nf_conntrack_count": "0"}, "note", "Nothing is tracked"),
            ("memory of the machine",
             {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 4000 kB\n"},
             "problem", "more memory"),
            ("memory of the machine",
             {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 6000 kB\n"},
             "warning", "little is left"),
            ("RLIMIT_NPROC", {"proc/self/limits": limits(processes=10)}, "problem", "17 threads"),
            ("kernel.threads-max", {"proc/sys/kernel/threads-max": "16"}, "problem", "17 threads"),
            ("kernel.threads-max", {"proc/loadavg": "0.1 0.2 0.3 2/189990 77\n"}, "problem",
             "10 are left"),
            ("kernel.io_uring_disabled", {"proc/sys/kernel/io_uring_disabled": "2"}, "note",
             "Nobody"),
            ("kernel.io_uring_disabled", {"proc/sys/kernel/io_uring_disabled": "1"}, "note",
             "CAP_SYS_ADMIN"),
            ("RLIMIT_MEMLOCK", {"proc/self/limits": limits(locked=65536)}, "warning", "ulimit -l"),
        ]
        for name, changes, severity, words in cases:
            with self.subTest(row=name, changes=changes):
                _, rows, _ = self.examine(changes)
                self.assertEqual(rows[name]["severity"], severity, rows[name])
                self.assertIn(words, rows[name]["advice"])

    def test_capabilities_loops_and_fibers(self):
        able = {"proc/self/limits": limits(locked=65536),
                "proc/self/status": "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0,2-3\n"}
        _, rows, _ = self.examine(able)
        self.assertEqual(rows["RLIMIT_MEMLOCK"]["severity"], "ok")
        self.assertEqual(rows["processors"]["numbers"], [3])
        _, rows, _ = self.examine({}, "--loops", 5)
        self.assertEqual(rows["processors"]["severity"], "warning")
        code, rows, report = self.examine({}, "--connections", 50000, "--fibers")
        self.assertEqual(code, 2)
        self.assertIn("vm.max_map_count=101000", rows["vm.max_map_count"]["advice"])
        self.assertEqual(needs_of(report)["mappings"]["asked"], 101000)

    def test_a_user_namespace_gives_no_capabilities_for_limits(self):
        able = {"proc/self/limits": limits(locked=65536, processes=10),
                "proc/self/status": "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n"
                                    "Cpus_allowed_list:\t0-3\n"}
        for uid_map, lock, processes in (("         0          0 4294967295\n", "ok", "note"),
                                         ("0 100000 65536\n", "warning", "problem"),
                                         ("", "warning", "problem")):
            with self.subTest(uid_map=uid_map):
                _, rows, report = self.examine({**able, "proc/self/uid_map": uid_map},
                                               "--connections", 1000)
                self.assertEqual(rows["RLIMIT_MEMLOCK"]["severity"], lock)
                self.assertEqual(rows["RLIMIT_NPROC"]["severity"], processes)
                self.assertEqual(needs_of(report)["locked memory"]["severity"], lock)
                self.assertTrue(needs_of(report)["locked memory"]["here_is_known"])

    def test_threads_that_run_count_against_the_limit_of_their_user(self):
        status = "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t{}\nCpus_allowed_list:\t0-3\n"
        others = {"proc/5/status": "Uid:\t1000\t1000\t1000\t1000\nThreads:\t59000\n",
                  "proc/6/status": "Uid:\t1000\t0\t0\t0\nThreads:\t990\n",
                  "proc/7/status": "Uid:\t1001\t1000\t1000\t1000\nThreads:\t7\n",
                  "proc/self/status": status.format("0" * 16)}
        _, rows, report = self.examine(others, "--connections", 1000)
        self.assertEqual(rows["RLIMIT_NPROC"]["numbers"], [60000, 60000, 59990])
        self.assertEqual(rows["RLIMIT_NPROC"]["severity"], "problem")
        self.assertEqual(needs_of(report)["threads"]["here"], 10)
        for bit in (21, 24):  # CAP_SYS_ADMIN and CAP_SYS_RESOURCE
            able = {**others, "proc/self/status": status.format(f"{1 << bit:016x}")}
            _, rows, report = self.examine(able, "--connections", 1000)
            self.assertEqual(rows["RLIMIT_NPROC"]["severity"], "ok")
            self.assertEqual(needs_of(report)["threads"]["severity"], "ok")

    def test_what_is_not_known_is_not_called_unlimited(self):
        _, _, report = self.examine({"proc/meminfo": "MemTotal: 9000 kB\n",
                                     "proc/self/limits": "garbage\n", "proc/sys/fs/nr_open": None,
                                     "proc/sys/fs/file-nr": None}, "--connections", 1000)
        for name in ("memory, both", "memory, all in TIME_WAIT", "descriptors",
                     "descriptors, system", "threads", "locked memory"):
            need = needs_of(report)[name]
            self.assertEqual((need["here"], need["here_is_known"], need["severity"]),
                             (None, False, "note"), need)
        _, _, report = self.examine({"proc/self/limits": limits(locked="unlimited")},
                                    "--connections", 1000)
        need = needs_of(report)["locked memory"]
        self.assertEqual((need["here"], need["here_is_known"], need["severity"]),
                         (None, True, "ok"))

    def test_time_wait_is_judged(self):
        name = "memory, all in TIME_WAIT"
        few = {"proc/sys/net/ipv4/tcp_max_tw_buckets": "100\n"}
        scarce = {"proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 200 kB\n"}
        for changes, severity in (({}, "ok"), (few, "note"), (scarce, "problem"),
                                  ({**few, **scarce}, "note")):
            _, _, report = self.examine(changes, "--connections", 1000)
            self.assertEqual(needs_of(report)[name]["severity"], severity, changes)

    def test_numbers_that_are_too_great_do_not_begin_again_at_zero(self):
        code, rows, report = self.examine({}, "--connections", 10**9, "--bytes-user", 1 << 40)
        self.assertEqual(code, 2)
        self.assertEqual(rows["memory of the machine"]["severity"], "problem")
        both = needs_of(report)["memory, both"]
        self.assertEqual((both["asked"], both["severity"]), (2**64 - 1, "problem"))

    def test_units(self):
        _, rows, _ = self.examine({GROUP + "/cpu.max": "150000 100000\n"})
        for name, unit in (("RLIMIT_NOFILE", "count"), ("RLIMIT_MEMLOCK", "bytes"),
                           ("net.ipv4.tcp_rmem", "bytes"), ("net.ipv4.tcp_mem", "pages"),
                           ("net.ipv4.tcp_keepalive_time", "s"), ("memory of the machine", "bytes"),
                           ("processors", "count, thousandths")):
            self.assertEqual(rows[name]["unit"], unit)

    def test_needs_are_computed(self):
        _, _, report = self.examine({}, "--connections=30000", "--loops=4", "--bytes-user=200")
        needs = needs_of(report)
        self.assertEqual(needs["user memory"]["asked"], 30000 * 1000)
        self.assertEqual(needs["user memory"]["million"], 1000 * 1000 * 1000)
        both = needs["memory, both"]
        self.assertEqual(both["asked"],
                         needs["user memory"]["asked"] + needs["kernel memory"]["asked"])
        self.assertEqual(both["here"], 60000000 * 1024)
        self.assertEqual(needs["descriptors"]["asked"], 30000 + 4 * 3 + 64)
        self.assertEqual(needs["descriptors"]["here"], 1048576)
        self.assertEqual(needs["descriptors, system"]["here"], 9000000 - 1000)
        self.assertEqual(needs["local addresses, outgoing"]["asked"], 1)
        self.assertEqual(needs["local addresses, outgoing"]["million"], 16)
        self.assertEqual(needs["threads"]["asked"], 4 + 16)
        self.assertEqual(needs["buffers for each"]["million"], 2000000 * 4096 // 1000000)

    def test_needs_that_do_not_fit(self):
        changes = {"proc/self/limits": limits(1024, 5000), "proc/sys/fs/nr_open": "4000"}
        code, _, report = self.examine(changes, "--connections", 10000)
        descriptors = needs_of(report)["descriptors"]
        self.assertEqual((code, descriptors["severity"], descriptors["here"]), (2, "problem", 4000))
        _, _, report = self.examine({"proc/self/limits": limits(1024, "unlimited")},
                                    "--connections", 10000)
        self.assertIn("a million", needs_of(report)["descriptors"]["advice"])

    def test_a_container_of_version_2(self):
        changes = {
            "proc/self/cgroup": "0::/docker/abc\n",
            GROUP + "/docker/memory.max": "2000000000\n",
            GROUP + "/docker/abc/memory.max": "8000000\n",
            GROUP + "/docker/abc/memory.high": "max\n",
            GROUP + "/docker/abc/memory.current": "5000000\n",
            GROUP + "/docker/abc/memory.stat": "anon 1\ninactive_file 1000000\nslab 7\n",
            GROUP + "/docker/abc/pids.max": "20\n",
            GROUP + "/docker/abc/pids.current": "10\n",
            GROUP + "/docker/abc/cpu.max": "150000 100000\n",
            "proc/self/mountinfo": "30 1 0:5 / /proc rw - proc proc rw\n"
                                   "31 30 0:5 /sys /proc/sys ro,nosuid - proc proc rw\n",
            "proc/sys/net/core/somaxconn": "128\n",
        }
        code, rows, report = self.examine(changes, "--loops", 2, "--connections", 1000)
        self.assertEqual(code, 2)
        memory = rows["memory of the control group"]
        self.assertEqual(memory["numbers"], [8000000, 4000000])
        self.assertEqual(memory["source"], "/sys/fs/cgroup/docker/abc/memory.max")
        self.assertEqual(memory["severity"], "problem")
        self.assertEqual(rows["memory of the machine"]["severity"], "ok")
        self.assertEqual(needs_of(report)["memory, both"]["here"], 4000000)
        self.assertEqual(rows["pids of the control group"]["severity"], "problem")
        self.assertEqual(needs_of(report)["threads"]["here"], 10)
        self.assertEqual(rows["processors"]["value"], "4, cpu.max 1.5")
        self.assertEqual(rows["processors"]["severity"], "warning")
        self.assertIn("--sysctl", rows["net.core.somaxconn"]["advice"])

    def test_a_limit_above_our_group_and_a_path_of_the_host(self):
        above = {"proc/self/cgroup": "0::/a/b\n", GROUP + "/a/memory.max": "7000000\n",
                 GROUP + "/a/b/memory.max": "max\n"}
        _, rows, _ = self.examine(above)
        self.assertEqual(rows["memory of the control group"]["numbers"][0], 7000000)
        foreign = {"proc/self/cgroup": "0::/host/only\n", GROUP + "/memory.high": "9000000\n"}
        _, rows, _ = self.examine(foreign)
        self.assertEqual(rows["memory of the control group"]["numbers"][0], 9000000)

    def test_the_group_that_leaves_least_counts(self):
        # The tighter limit is nearly free, and the wider one above it is nearly full.
        changes = {"proc/self/cgroup": "0::/a/b\n",
                   GROUP + "/a/memory.max": "10000000\n", GROUP + "/a/memory.current": "9500000\n",
                   GROUP + "/a/pids.max": "500\n", GROUP + "/a/pids.current": "495\n",
                   GROUP + "/a/b/memory.max": "8000000\n", GROUP + "/a/b/memory.current": "1000\n",
                   GROUP + "/a/b/pids.max": "100\n", GROUP + "/a/b/pids.current": "2\n"}
        _, rows, report = self.examine(changes, "--connections", 1000)
        memory, pids = rows["memory of the control group"], rows["pids of the control group"]
        self.assertEqual((memory["numbers"], memory["severity"]), ([10000000, 9500000], "problem"))
        self.assertEqual(memory["source"], "/sys/fs/cgroup/a/memory.max")
        self.assertEqual((pids["numbers"], pids["severity"]), ([500, 495], "problem"))
        self.assertEqual(needs_of(report)["memory, both"]["here"], 500000)
        self.assertEqual(needs_of(report)["threads"]["here"], 5)

    def test_the_first_group_of_version_2_has_no_limits(self):
        bare = {GROUP + "/memory.max": None, GROUP + "/pids.max": None, GROUP + "/cpu.max": None}
        names = ("memory of the control group", "pids of the control group")
        _, rows, _ = self.examine({**bare, GROUP + "/cgroup.controllers": "cpu memory pids\n"})
        self.assertEqual([rows[name]["value"] for name in names], ["none"] * 2)
        _, rows, _ = self.examine(bare)
        for name in names:
            self.assertIn("no control group can be read", rows[name]["value"])

    def test_a_container_of_version_1(self):
        changes = {
            "proc/self/cgroup": "9:cpu,cpuacct:/x\n8:pids:/x\n4:memory:/x\n0::/\n",
            GROUP + "/memory/x/memory.limit_in_bytes": "6000000\n",
            GROUP + "/memory/memory.limit_in_bytes": "9223372036854771712\n",
            GROUP + "/memory/x/memory.usage_in_bytes": "3000000\n",
            GROUP + "/memory/x/memory.stat": "total_inactive_file 500000\n",
            GROUP + "/pids/x/pids.max": "100\n",
            GROUP + "/pids/x/pids.current": "7\n",
            GROUP + "/cpu/x/cpu.cfs_quota_us": "200000\n",
            GROUP + "/cpu/x/cpu.cfs_period_us": "100000\n",
        }
        _, rows, _ = self.examine(changes)
        self.assertEqual(rows["memory of the control group"]["numbers"], [6000000, 2500000])
        self.assertEqual(rows["pids of the control group"]["numbers"], [100, 7])
        self.assertEqual(rows["processors"]["numbers"], [4, 2000])
        free = {"proc/self/cgroup": "4:memory:/\n",
                GROUP + "/memory/memory.limit_in_bytes": "9223372036854771712\n"}
        _, rows, _ = self.examine(free)
        self.assertEqual(rows["memory of the control group"]["value"], "none")

    def test_files_that_are_missing(self):
        """Each in turn, and all: every other row is as it was."""
        _, healthy, _ = self.examine({})
        for path in sorted(machines.HEALTHY):
            with self.subTest(path=path):
                _, rows, _ = self.examine({path: None}, "--connections", 10)
                self.assertEqual(list(rows), list(healthy))
                own = [row for row in rows.values() if row["source"] == "/" + path]
                for row in own:
                    if row["value"] != "no such switch":
                        self.assertIn("unknown", row["value"])
        code, rows, _ = self.examine(dict.fromkeys(machines.HEALTHY), "--connections", 10)
        self.assertEqual(code, 0)
        self.assertEqual(list(rows), list(healthy))

    def test_files_with_garbage(self):
        garbage = [b"", b"\n", b"many\n", b"-1\n", b"99999999999999999999\n",
                   b"1 2\xff\x00\x1b[31m\n", b"\"\\\n", b"0x10\n", b"7" * 2000000]
        # In each round every file has some; after all of them each had each.
        for turn in range(len(garbage)):
            changes = {path: garbage[(at + turn) % len(garbage)]
                       for at, path in enumerate(machines.HEALTHY)}
            with self.subTest(turn=turn):
                _, rows, _ = self.examine(changes, "--connections", 10)
                judged = [row for row in rows.values() if row["source"].startswith("/proc/sys/")
                          and not row["source"].endswith("conntrack_max")
                          and not row["source"].endswith("congestion_control")]
                self.assertGreater(len(judged), 20)  # any word may name a congestion control
                for row in judged:
                    self.assertIn("unknown", row["value"])
                    self.assertEqual(row["severity"], "warning")

    def test_this_machine(self):
        code, report = ask("--connections", 1000000, "--loops", 2)
        self.check(code, report)
        rows = rows_of(report)
        soft, hard = (int(word) if word != "unlimited" else None for word in
                      pathlib.Path("/proc/self/limits").read_text(encoding="utf-8")
                      .split("Max open files")[1].split()[:2])
        self.assertEqual(rows["RLIMIT_NOFILE"]["numbers"], [soft, hard])
        self.assertRegex(rows[RING]["value"], "^(yes|no)")
        self.assertEqual(needs_of(report)["descriptors"]["asked"],
                         needs_of(report)["descriptors"]["million"])

    def test_where_io_uring_is_refused(self):
        done = subprocess.run([DENY, "EPERM", "--", machines.PROGRAM, "--json"],
                              capture_output=True, text=True, timeout=machines.PATIENCE,
                              check=False)
        if done.returncode == 125:
            print(done.stderr, file=sys.stderr)
            self.skipTest("no seccomp filter here")
        ring = rows_of(machines.json.loads(done.stdout))[RING]
        self.assertEqual((ring["value"], ring["severity"]), ("no", "note"))
        self.assertIn("epoll", ring["advice"])
        self.assertEqual(done.stderr, "")

    def test_text(self):
        root = write(self.folder.name, {"proc/sys/net/core/somaxconn": "128\n"})
        done = run("--root", root, "--connections", 123456, "--loops", 3)
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.split("\n")
        self.assertEqual([line for line in lines if len(line) > 100 or line != line.rstrip()], [])
        self.assertTrue(done.stdout.isascii())
        _, report = ask("--root", root, "--connections", 123456, "--loops", 3)
        for row in report["rows"]:
            self.assertIn(f"{row['severity']:<9}{row['name']}", done.stdout)
            for part in ("value", "meaning", "advice"):
                self.assertIn(" ".join(row[part].split()), " ".join(done.stdout.split()))
        brief = run("--root", root, "--brief")
        self.assertIn("net.core.somaxconn", brief.stdout)
        self.assertNotIn("tcp_rmem", brief.stdout)
        self.assertEqual(brief.returncode, 1)

    def test_bad_arguments(self):
        for words, said in [
            (["--connections", "many"], 'cannot take "many" for --connections: it takes a number'),
            (["--connections", "0"], "from 1 to 1000000000"),
            (["--connections=-5"], "--connections"),
            (["--connections", "10x"], "10x"),
            (["--connections"], "--connections needs a value"),
            (["--loops", "5000"], "from 1 to 4096"),
            (["--bytes-user", "1e9"], "--bytes-user"),
            (["--root", ""], "--root"),
            (["--json=yes"], 'there is no argument "--json=yes"'),
            (["1000"], 'there is no argument "1000"'),
            (["--colour"], "--help"),
        ]:
            with self.subTest(words=words):
                done = run(*words)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertTrue(done.stderr.startswith("coro-doctor: "), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertIn(said, done.stderr)

    def test_help_and_version(self):
        told = run("--help")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        for word in ("--connections", "--loops", "--fibers", "--bytes-user", "--json", "--root",
                     "Exit codes", "64"):
            self.assertIn(word, told.stdout)
        self.assertRegex(run("--version").stdout, r"^coro-doctor \d+\.\d+\.\d+\n$")

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([machines.PROGRAM], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=machines.PATIENCE, check=False)
        self.assertEqual(done.returncode, 74)
        self.assertIn("cannot write the report", done.stderr)


if __name__ == "__main__":
    unittest.main()
