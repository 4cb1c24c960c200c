#!/usr/bin/env python3
# ctest: timeout=300
"""One library, programs compiled in many ways: sizes, and what tasks, fibers, streams, loops and
exceptions do, depend neither on NDEBUG nor on the standard, the compiler, the optimization, the
visibility or the sanitizers of the program."""
import concurrent.futures
import os
import pathlib
import subprocess
import tempfile
import unittest

import package
from package import BUILD, ROOT

PROGRAM = ROOT / "tests/install/abi/main.cpp"
ADDRESS = "-fsanitize=address,undefined"
THREAD = "-fsanitize=thread"
# How the program is compiled, and which library it takes. The library itself is g++'s, -std=c++20.
VARIANTS = {
    "plain": ("shared", "g++", "-std=c++20"),
    "static library": ("static", "g++", "-std=c++20"),
    "NDEBUG and optimized": ("shared", "g++", "-std=c++20", "-O2", "-DNDEBUG"),
    "C++23 and hidden": ("shared", "g++", "-std=c++23", "-fvisibility=hidden"),
    "address sanitizer": ("shared", "g++", "-std=c++20", ADDRESS),
    "thread sanitizer": ("shared", "g++", "-std=c++23", THREAD),
    "clang": ("shared", "clang++-19", "-std=c++20"),
    "clang, static": ("static", "clang++-19", "-std=c++23", "-O1", "-DNDEBUG"),
    "clang, address sanitizer": ("shared", "clang++-19", "-std=c++20", ADDRESS),
    "clang, thread sanitizer": ("shared", "clang++-19", "-std=c++20", THREAD),
}
PATIENCE = 120  # seconds, against hanging only
# What is checked here is that the sides fit. The thread sanitizer sees only what it compiled: the
# library's own order of reads and writes is unknown to it, so it would report races.
SETTINGS = {"TSAN_OPTIONS": "report_bugs=0", "ASAN_OPTIONS": "detect_leaks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def lines_of(work, prefixes, name):
    """What the program says when it is compiled like this."""
    library, compiler, *flags = VARIANTS[name]
    prefix = prefixes[library]
    program = work / name.replace(" ", "_")
    parts = [package.pkg_config(prefix, each) for each in ("--cflags", "--libs")]
    rpath = "-Wl,-rpath," + str(next(prefix.rglob("libcoro.*")).parent)
    command = [compiler, *flags, "-Wall", "-Wextra", "-Werror", *parts[0], PROGRAM, "-o", program,
               *parts[1], rpath]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        return f"does not compile: {' '.join(map(str, command))}\n{built.stderr}"
    run = subprocess.run([program], capture_output=True, text=True, timeout=PATIENCE, check=False,
                         env={**os.environ, **SETTINGS})
    ended = f"status {run.returncode}\n{run.stderr}" if run.returncode != 0 else ""
    return run.stdout + ended


class abi(unittest.TestCase):
    maxDiff = None

    def test_programs_compiled_in_many_ways_agree(self):
        with tempfile.TemporaryDirectory() as folder:
            work, prefixes = pathlib.Path(folder), {}
            for library, tree in (("shared", package.shared_tree()), ("static", BUILD)):
                (work / library).mkdir()
                prefixes[library] = package.install(tree, work / library)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                said = dict(zip(VARIANTS, pool.map(
                    lambda name: lines_of(work, prefixes, name), VARIANTS)))
        plain = said["plain"]
        self.assertTrue(plain.endswith("end\n"), plain)
        self.assertIn("caught interrupted", plain)
        print(plain)
        for name, lines in said.items():
            with self.subTest(how=name):
                self.assertEqual(lines, plain)


if __name__ == "__main__":
    unittest.main()
