#!/usr/bin/env python3
"""deny_uring refuses what it says, nothing else, and ends as its command does."""
import errno
import os
import pathlib
import subprocess
import sys
import unittest

TOOL = str(pathlib.Path(os.environ.get("CORO_BUILD_DIR", "build/debug"), "tests", "deny_uring"))
# What the three io_uring calls answer with arguments that no kernel takes.
ASK = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in (425, 426, 427):
    assert libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) == -1
    print(ctypes.get_errno(), end=" ")
"""


def run(*arguments):
    return subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=120)


class deny_uring(unittest.TestCase):
    def test_each_errno_is_what_all_three_calls_answer(self):
        for text, value in [
            ("EPERM", errno.EPERM),
            ("ENOSYS", errno.ENOSYS),
            ("EOPNOTSUPP", errno.EOPNOTSUPP),
            ("12", errno.ENOMEM),
        ]:
            done = run(text, "--", sys.executable, "-c", ASK)
            self.assertEqual(done.stdout, f"{value} {value} {value} ", done.stderr)

    def test_the_filter_stays_with_what_the_command_starts(self):
        inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}])"
        done = run("ENOSYS", "--", sys.executable, "-c", inner)
        self.assertEqual(done.stdout, f"{errno.ENOSYS} " * 3, done.stderr)

    def test_it_ends_as_its_command_and_tells_it_what_is_denied(self):
        done = run("EPERM", "--", "sh", "-c", "echo $CORO_DENIED; exit 7")
        self.assertEqual((done.returncode, done.stdout), (7, "EPERM\n"))
        self.assertEqual(run("EPERM", "--", "sh", "-c", "kill -TERM $$").returncode, -15)

    def test_bad_usage_is_a_sentence_and_125(self):
        for arguments in [(), ("EPERM",), ("EPERM", "--"), ("EPERM", "true", "--")]:
            done = run(*arguments)
            self.assertEqual(done.returncode, 125)
            self.assertIn("usage: deny_uring ERRNO -- COMMAND", done.stderr)
        for bad in ["EWRONG", "0", "4096", "1x", ""]:
            done = run(bad, "--", "true")
            self.assertEqual(done.returncode, 125)
            self.assertIn(f'"{bad}" is no errno', done.stderr)

    def test_a_command_that_is_not_there_is_127(self):
        done = run("EPERM", "--", "/there/is/no/such/program")
        self.assertEqual(done.returncode, 127)
        self.assertIn("cannot start /there/is/no/such/program", done.stderr)


if __name__ == "__main__":
    unittest.main()
