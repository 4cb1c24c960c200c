#!/usr/bin/env python3
# ctest: timeout=300
"""One library, built without sanitizers, serves programs that are built with one: nothing false is
reported about fibers, loops and threads, on both pollers; what is wrong is still found."""
import concurrent.futures
import os
import pathlib
import subprocess
import tempfile
import unittest

import package
from package import BUILD, ROOT

PROGRAM = ROOT / "tests/install/sanitizers/main.cpp"
COMPILERS = ("g++", "clang++-19")
SANITIZERS = {"none": [], "address": ["-fsanitize=address"], "thread": ["-fsanitize=thread"]}
POLLERS = ("automatic", "epoll")
# The planted mistakes: what finds them, and what it says.
PLANTED = {
    "overflow": ("address", "ERROR: AddressSanitizer: stack-buffer-overflow"),
    "frame": ("address", "ERROR: AddressSanitizer: heap-use-after-free"),
    "race": ("thread", "WARNING: ThreadSanitizer: data race"),
}
PATIENCE = 120  # seconds, against hanging only
SETTINGS = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
            "TSAN_OPTIONS": "halt_on_error=0:exitcode=66"}


def done(command):
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{run.stderr}")


def run(program, which, poller):
    """The status of the program and all that it says."""
    ended = subprocess.run([program, which], capture_output=True, text=True, timeout=PATIENCE,
                           check=False, env={**os.environ, **SETTINGS, "CORO_POLLER": poller})
    return ended.returncode, ended.stdout, ended.stderr


class sanitizers(unittest.TestCase):
    maxDiff = None

    def build(self, work):
        """The programs, by library, compiler and sanitizer."""
        prefixes = {}
        for library, tree in (("shared", package.shared_tree()), ("static", BUILD)):
            (work / library).mkdir()
            prefixes[library] = package.install(tree, work / library)

        def link(how):
            compiler, sanitizer = how
            flags = [compiler, *SANITIZERS[sanitizer]]
            compiled = work / f"{compiler}-{sanitizer}.o"
            done([*flags, "-std=c++20", "-O1", "-g1", "-Wall", "-Wextra", "-Werror",
                  *package.pkg_config(prefixes["static"], "--cflags"), "-c", PROGRAM, "-o",
                  compiled])
            for library, prefix in prefixes.items():
                place = next(prefix.rglob("libcoro.*")).parent
                done([*flags, compiled, "-o", work / f"{library}-{compiler}-{sanitizer}",
                      *package.pkg_config(prefix, "--libs"), f"-Wl,-rpath,{place}"])

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(link, [(compiler, sanitizer) for compiler in COMPILERS
                                 for sanitizer in SANITIZERS]))
        return {(library, compiler, sanitizer): work / f"{library}-{compiler}-{sanitizer}"
                for library in prefixes for compiler in COMPILERS for sanitizer in SANITIZERS}

    def test_nothing_false_is_reported_and_nothing_true_is_missed(self):
        with tempfile.TemporaryDirectory() as folder:
            programs = self.build(pathlib.Path(folder))
            plain = run(programs["shared", "g++", "none"], "ok", "automatic")
            self.assertEqual((plain[0], plain[2]), (0, ""), plain)
            self.assertTrue(plain[1].endswith("end\n"), plain)
            for how, program in programs.items():
                for poller in POLLERS:
                    with self.subTest(how=how, poller=poller):
                        self.assertEqual(run(program, "ok", poller), plain)
                for which, (finder, says) in PLANTED.items():
                    if how[2] != finder or how[0] != "static":
                        continue
                    with self.subTest(how=how, planted=which):
                        status, _, said = run(program, which, "automatic")
                        self.assertNotEqual(status, 0)
                        self.assertIn(says, said)


if __name__ == "__main__":
    unittest.main()
