#!/usr/bin/env python3
# ctest: timeout=120
"""Runs each question of tcp_truth: each claim is seen, and the page of the question in
docs/guide/tcp shows what the run prints, but for the figures.

A page has one block of code that begins with the question. Where runs differ in more than their
figures, the line above that block is `<!-- each run differs -->`; the claims must be the same even
so.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from support import PATIENCE, ROOT, must_be_built, program

PAGES = ROOT / "docs/guide/tcp"
CXX = os.environ.get("CXX", "g++")
DIFFERS = "<!-- each run differs -->\n"
NOT_ALLOWED = 77
REFUSED = []  # what the programs said that were not allowed a network of their own
# What needs network namespaces, which containers and some machines do not give: these may end with
# 77 there, and nowhere else.
NEED_A_NETWORK = {
    "a_million",
    "address_in_use",
    "backlog",
    "buffers",
    "closing",
    "connect_limit",
    "full_queue",
    "half_close",
    "half_open",
    "handshake",
    "nagle",
    "old_texts",
    "port_exhaustion",
    "powered_off",
    "reset",
    "reuseport",
    "short_connections",
    "slow_start",
    "time_wait",
    "without_listen",
    "zero_window",
}
# A run with a claim for each argument: +seen, -not_seen.
CLAIMS = """#include "timeline.hpp"
int main(int count, char** values) {
    tcp_truth::timeline line;
    for (int i = 1; i < count; ++i) line.holds(values[i] + 1, *values[i] == '+');
    return line.finish();
}
"""
AT_ONCE = 2
RUNS_AT_MOST = 3
ROW = re.compile(r" *\d+\.\d  [a-z]+ +\S")


def ask(*arguments):
    return subprocess.run([program("tcp_truth"), *arguments], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def questions():
    """{name: question}, in the order of the program."""
    rows = ask().stdout.splitlines()
    return dict(re.fullmatch(r"(\w+) +(\S.*)", row).groups() for row in rows)


def masked(text):
    """Without figures, and without how many blanks stand before them."""
    return re.sub(r"[ ]+", " ", re.sub(r"\d+(\.\d+)?", "N", text)).split("\n")


def claims(text):
    return re.findall(r"^(?:yes|NO )  (.*)$", text, re.MULTILINE)


def block_of(page, question):
    """(the block that begins with the question, whether it may differ from the next run)"""
    found = re.findall(rf"^({re.escape(DIFFERS)})?```text\n({re.escape(question)}\n.*?)^```$", page,
                       re.MULTILINE | re.DOTALL)
    return (found[0][1], bool(found[0][0])) if len(found) == 1 else (None, False)


def network_is_refused():
    """Why this machine gives no namespace with a cable, or None."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun for us"
    tried = [subprocess.run(["unshare", *how, "sh", "-c",
                             "echo 1 > /proc/sys/net/ipv4/tcp_syncookies"],
                            capture_output=True, text=True, check=False)
             for how in (["--net"], ["--user", "--net"])]
    return None if any(each.returncode == 0 for each in tried) else tried[-1].stderr


class tcp_truth(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        must_be_built("tcp_truth")
        cls.questions = questions()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            cls.runs = dict(zip(cls.questions, pool.map(ask, cls.questions)))

    def page(self, name):
        return (PAGES / f"{name}.md").read_text(encoding="utf-8")

    def test_each_claim_is_seen(self):
        self.assertGreater(len(self.questions), 0)
        for name, run in self.runs.items():
            with self.subTest(question=name):
                if run.returncode == NOT_ALLOWED:
                    self.assertIn(name, NEED_A_NETWORK, run.stderr)
                    self.assertIsNotNone(network_is_refused(), run.stderr)
                    REFUSED.append(run.stderr.strip())
                    continue
                self.assertEqual((run.returncode, run.stderr), (0, ""), run.stdout)
                self.assertTrue(claims(run.stdout))
                self.assertNotIn("\nNO ", run.stdout)

    def test_each_page_shows_its_run(self):
        for name, question in self.questions.items():
            run = self.runs[name]
            with self.subTest(question=name):
                page = self.page(name)
                self.assertTrue(page.startswith(f"# {question}\n"), page[:100])
                self.assertIn(f"`examples/tcp/{name}.cpp`", page)
                self.assertIn(f"tcp_truth {name}", page)
                block, differs = block_of(page, question)
                self.assertIsNotNone(block, "no block, or two, begin with the question")
                self.assertRegex(block, re.compile(ROW.pattern, re.MULTILINE))
                self.assertNotIn("\nNO ", block)
                if run.returncode == NOT_ALLOWED:
                    continue  # the other test says whether it may
                self.assertEqual(claims(block), claims(run.stdout))
                if not differs:
                    self.assert_same(name, block, run)

    def assert_same(self, name, block, run):
        """The block is what a run prints. Where the machine stood still, timers of the kernel may
        have added a row: such a run does not count."""
        for _ in range(RUNS_AT_MOST - 1):
            if masked(block) == masked(run.stdout):
                return
            run = ask(name)
        self.assertEqual(masked(block), masked(run.stdout))

    def test_the_index_has_all_questions_in_order(self):
        index = (PAGES / "README.md").read_text(encoding="utf-8")
        rows = re.findall(r"\[([^\]]+)\]\((\w+)\.md\)", index)
        self.assertEqual([(name, text) for text, name in rows], list(self.questions.items()))
        there = {path.stem for path in PAGES.glob("*.md")} - {"README"}
        self.assertEqual(there, set(self.questions))

    def test_each_source_says_how_to_run_it(self):
        for name, question in self.questions.items():
            text = (ROOT / f"examples/tcp/{name}.cpp").read_text(encoding="utf-8")
            self.assertTrue(text.startswith(f"// {question}\n"), name)
            self.assertIn(f"// Run:   build/debug/examples/tcp_truth {name}\n", text)
            self.assertEqual("own_network" in text, name in NEED_A_NETWORK, name)

    def test_a_question_that_is_none(self):
        for wrong in (["no_such"], ["without_accept", "without_accept"]):
            run = ask(*wrong)
            self.assertEqual((run.returncode, run.stdout), (2, ""))
            self.assertIn("usage: tcp_truth [QUESTION]", run.stderr)

    def test_a_claim_that_is_not_seen_fails(self):
        with tempfile.TemporaryDirectory() as folder:
            source, made = pathlib.Path(folder) / "claims.cpp", pathlib.Path(folder) / "claims"
            source.write_text(CLAIMS, encoding="utf-8")
            subprocess.run([CXX, "-std=c++20", f"-I{ROOT / 'examples/tcp'}", source, "-o", made],
                           check=True)
            for given, code, printed in ((["+a"], 0, "yes  a\n"), ([], 1, ""),
                                         (["+a", "-b"], 1, "yes  a\nNO   b\n")):
                run = subprocess.run([made, *given], capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, code)
                self.assertEqual(run.stdout.split("event\n\n")[1], printed)

    def test_where_a_network_is_refused_it_says_so(self):
        def without_tun(how, *command):
            hidden = 'mount --bind /dev/null /dev/net/tun && exec "$@"'
            return subprocess.run(["unshare", *how, "--mount", "sh", "-c", hidden, "sh", *command],
                                  capture_output=True, text=True, check=False)
        for how in ([], ["--map-root-user"]):
            if without_tun(how, "true").returncode == 0:
                run = without_tun(how, program("tcp_truth"), "handshake")
                self.assertEqual(run.returncode, NOT_ALLOWED, run.stdout)
                self.assertRegex(run.stderr, "tcp_truth handshake: this machine does not allow it")
                return
        self.skipTest("this machine lets nobody hide /dev/net/tun")

    def test_figures_alone_are_masked(self):
        self.assertEqual(masked("   0.1  client    sent 3 bytes"),
                         masked(" 12.3  client    sent 30 bytes"))
        self.assertNotEqual(masked("client sent 3 bytes"), masked("server sent 3 bytes"))
        page = f"# Q?\n\n{DIFFERS}```text\nQ?\n\n  0.1  client  a\n```\n"
        self.assertEqual(block_of(page, "Q?"), ("Q?\n\n  0.1  client  a\n", True))
        self.assertEqual(block_of(page + page, "Q?"), (None, False))


if __name__ == "__main__":
    ended = unittest.main(exit=False).result
    if ended.wasSuccessful() and REFUSED:
        print(f"skipped: {len(REFUSED)} questions need a network of their own: {REFUSED[0]}")
        sys.exit(NOT_ALLOWED)
    sys.exit(0 if ended.wasSuccessful() else 1)
