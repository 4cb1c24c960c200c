#!/usr/bin/env python3
# ctest: timeout=120 label=static
"""What a program pays for `#include <coro/coro.hpp>`: at most so many lines for the compiler to
read. The seconds are printed only, because they are the machine's."""
import os
import pathlib
import resource
import shutil
import subprocess
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = "#include <coro/coro.hpp>\n"
MOST_LINES = 59_000  # <algorithm> alone is 8 000


def compiler(name, *flags):
    command = [name, "-std=c++20", f"-I{ROOT / 'include'}", *flags, "-x", "c++", "-"]
    return subprocess.run(command, input=PROGRAM, capture_output=True, text=True, check=True).stdout


def seconds(name):
    """Processor time of compiling it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    compiler(name, "-c", "-o", "/dev/null")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class umbrella(unittest.TestCase):
    def test_how_much_a_program_reads(self):
        for name in ("g++", "clang++-19"):
            self.assertTrue(shutil.which(name), f"{name} is missing; scripts/test installs it")
            lines = compiler(name, "-E", "-P").count("\n")
            print(f"{name}: {lines} lines, {seconds(name):.2f} seconds", flush=True)
            if name == "g++":  # the same library's headers, and -P counts differently elsewhere
                self.assertLessEqual(lines, MOST_LINES)
                self.assertGreater(lines, 10_000, "that is no preprocessed header")


if __name__ == "__main__":
    unittest.main()
