#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""A compiler that cannot compile coroutines is refused with a sentence that names the cure."""
import os
import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))


def configure(name, version, system="Linux"):
    run = subprocess.run(
        ["cmake", f"-DCMAKE_CXX_COMPILER_ID={name}", f"-DCMAKE_CXX_COMPILER_VERSION={version}",
         f"-DCMAKE_SYSTEM_NAME={system}", "-P", ROOT / "cmake/CoroCompiler.cmake"],
        capture_output=True, text=True, check=False)
    return run.returncode, " ".join(run.stderr.split())


class compiler(unittest.TestCase):
    def test_old_ones_are_refused(self):
        for name, version in (("Clang", "14.0.6"), ("Clang", "15.0.7"), ("GNU", "12.1.0")):
            status, text = configure(name, version)
            self.assertNotEqual(status, 0)
            self.assertIn(f"coro needs g++ 12.2 or clang 16, or newer, and this is {name} "
                          f"{version}: install clang-19", text)

    def test_unknown_ones_are_refused(self):
        status, text = configure("MSVC", "19.40")
        self.assertNotEqual(status, 0)
        self.assertIn("not MSVC 19.40", text)

    def test_other_systems_are_refused(self):
        status, text = configure("GNU", "14.1.0", "FreeBSD")
        self.assertNotEqual(status, 0)
        self.assertIn("coro runs on Linux only, and this is FreeBSD", text)

    def test_good_ones_are_taken(self):
        for name, version in (("GNU", "12.2.0"), ("Clang", "16.0.6"), ("Clang", "19.1.4")):
            self.assertEqual(configure(name, version), (0, ""))


if __name__ == "__main__":
    unittest.main()
