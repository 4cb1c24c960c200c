#!/usr/bin/env python3
# ctest: timeout=480 serial
"""The peers of the arena echo, and those that are not there are named with what is missing.

Here the peers that need no compiler are looked at, where their packages are; with CORO_PEERS=all in
the environment all that are there. None is needed: neither CI nor scripts/test installs one.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "perf"))
sys.path.insert(0, str(ROOT / "tests/perf"))
import harness  # noqa: E402
import peers  # noqa: E402
from contenders_test import exchange, load  # noqa: E402

LARGE = os.urandom(1 << 16) * 256
SCRIPTS = (".js", ".py")


class table(unittest.TestCase):
    def test_every_peer_has_its_file_its_package_and_a_cause(self):
        script = (ROOT / "scripts/packages.sh").read_text(encoding="utf-8")
        sources = {path.name for path in peers.FOLDER.iterdir()}
        self.assertEqual(sources, {peer.source for peer in peers.PEERS})
        for peer in peers.PEERS:
            self.assertIn(f"| {peer.package} ", script)
            self.assertEqual(set(peer.causes), {"more", "same", "less"}, peer.name)

    def test_cmake_knows_none_of_them(self):
        for name in ("CMakeLists.txt", "perf/CMakeLists.txt"):
            self.assertNotIn("peers", (ROOT / name).read_text(encoding="utf-8"))


class absence(unittest.TestCase):
    def test_what_is_missing_is_named_and_stops_no_other(self):
        source = "import sys; print('listening 127.0.0.1:1', flush=True)"
        there = peers.Peer("there", "there.py", "", "python3-json")
        wanted = [peers.Peer("module", "module.py", "", "python3-no-such-module"), there]
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "there.py").write_text(source, encoding="utf-8")
            before, peers.FOLDER = peers.FOLDER, pathlib.Path(folder)
            self.addCleanup(setattr, peers, "FOLDER", before)
            found, versions, absent = peers.prepare(pathlib.Path(folder, "to"), lambda _: None,
                                                    wanted)
        self.assertEqual([model.name for model, _ in found], ["there"])
        self.assertEqual(versions, {"there": "of no package"})
        self.assertIn("apt-get install python3-no-such-module", absent["module"])

    def test_a_compiler_that_refuses_says_why(self):
        with self.assertRaises(peers.Absent) as refused:
            peers.call([sys.executable, "-c", "import sys; sys.exit('a.cpp:1: error: no uv.h')"],
                       "compile it")
        self.assertEqual(str(refused.exception), "compile it: a.cpp:1: error: no uv.h")
        with self.assertRaises(peers.Absent):
            peers.call(["/no/compiler"], "compile it")
        with self.assertRaises(peers.Absent) as missing:
            peers.need("no-such-program", "a-package")
        self.assertIn("apt-get install a-package", str(missing.exception))

    def test_the_command_leaves_out_what_is_absent(self):
        """Where there is no program but Python's, node is absent."""
        with tempfile.TemporaryDirectory() as folder:
            seen = subprocess.run(
                [sys.executable, ROOT / "perf/arena.py", "--model", "Node.js", "--load", "1x64",
                 "--build", os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug"),
                 "--rounds", "1", "--seconds", "0.1", "--output", folder],
                capture_output=True, text=True, check=False, env=os.environ | {"PATH": folder})
            page = pathlib.Path(folder, "report.html").read_text(encoding="utf-8")
        self.assertEqual(seen.returncode, 0, seen.stderr)
        self.assertIn("Node.js is left out: node is not there: apt-get install nodejs", seen.stderr)
        self.assertIn("Not there:", page)


class those_that_are_there(unittest.TestCase):
    def test_they_echo_and_end_when_they_are_told_to(self):
        wanted = [peer for peer in peers.PEERS if os.environ.get("CORO_PEERS") == "all"
                  or pathlib.Path(peer.source).suffix in SCRIPTS]
        with tempfile.TemporaryDirectory() as folder:
            there, _, absent = peers.prepare(pathlib.Path(folder), lambda _: None, wanted)
            self.assertEqual(len(there) + len(absent), len(wanted))
            for model, command in there:
                with self.subTest(model.name), harness.Server(command) as server:
                    for words in (["--connections", "8"], ["--connections", "4", "--short"],
                                  ["--connections", "3", "--size", "1048576", "--depth", "2"]):
                        self.assertGreater(load(server, *words)["messages_total"], 0, words)
                    self.assertEqual(exchange(server.port, b"short", False), b"short")
                    self.assertTrue(exchange(server.port, LARGE, True) == LARGE, "other bytes")


if __name__ == "__main__":
    unittest.main()
