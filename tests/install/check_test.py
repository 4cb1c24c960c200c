#!/usr/bin/env python3
# ctest: timeout=300
"""coro_check(TARGET), the notice about g++ 12 and bin/coro-check, as a consumer of the installed
package meets them; and the same for a consumer that takes the source tree in."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from package import BUILD, ROOT, configure, install

# Nothing in it is compiled: what is in `all` is the check. good.cpp can be read only with the flags
# of its target, each of them; they come as CMake users give them. Its policies are old ones.
PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES CXX)
if(SOURCE)
    add_subdirectory("${SOURCE}" coro)
else()
    find_package(coro 0.1 CONFIG REQUIRED ${QUIET})
    find_package(coro 0.1 CONFIG REQUIRED ${QUIET})
endif()
add_library(good OBJECT EXCLUDE_FROM_ALL good.cpp)
target_include_directories(good PRIVATE parts)
target_compile_definitions(good PRIVATE WORDS="two words" $<$<COMPILE_LANGUAGE:CXX>:LANGUAGE=1>)
target_compile_options(good PRIVATE -O2 -Wno-unused -Wlogical-op -fno-tree-sra -g1
    "SHELL:-include forced.hpp" -isystem "${CMAKE_CURRENT_SOURCE_DIR}/other parts"
    $<$<COMPILE_LANGUAGE:CXX>:-DFROM_OPTIONS>)
target_compile_features(good PRIVATE cxx_std_23)
target_link_libraries(good PRIVATE coro::coro)
add_executable(bad EXCLUDE_FROM_ALL bad.cpp)
target_link_libraries(bad PRIVATE coro::coro)
coro_check(good)
coro_check(bad)
"""
FLAGS = "-DFROM_FLAGS='0 + 1'"
RIGHT = """    const bool is_ready = co_await ready();
    if (is_ready) co_return 1;
"""
WRONG = """    if (co_await ready()) co_return 1;
"""
GOOD = """#include <coro/core/task.hpp>
#include <part.hpp>
#include <third.hpp>
#ifndef FORCED
#error "-include"
#endif
#ifndef FROM_OPTIONS
#error "an option for the language"
#endif
static_assert(sizeof(WORDS) == sizeof("two words") && LANGUAGE == 1 && __cplusplus > 202002L);
static_assert(FROM_FLAGS == 1);
inline coro::task<int> right() {
""" + RIGHT + """    co_return 2;
}
"""
PART = """#pragma once
coro::task<bool> ready();
inline coro::task<int> in_a_header() {
""" + RIGHT + """    co_return 2;
}
"""
# A library of somebody else: what is wrong in it is not the user's to mend.
THIRD = PART.replace(RIGHT, WRONG).replace("in_a_header", "of_somebody_else")
BAD = """#include <coro/core/task.hpp>
coro::task<bool> ready();
coro::task<int> wrong() {
""" + WRONG + """    co_return 2;
}
"""
SAYS = ("g++ 12 loses its way here: the condition awaits, and the function declares no variable "
        "[name what is awaited: const auto value = co_await ...]")
ABSENT = ("clang++-absent, which reads the sources, is not there: install it (apt-get install "
          "clang-19), or name another one with --compiler (CMake: -DCORO_CHECK_COMPILER=...)")
NOTICE = "coro: g++ "


def is_told():
    """How often a consumer with this g++ is told."""
    version = subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True, check=True)
    return 1 if int(version.stdout.split(".")[0]) < 13 else 0


def run(*command, **more):
    """The status, and all that was said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **more)
    return done.returncode, done.stdout


class consumer(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.work = pathlib.Path(holder.name)
        cls.prefix = install(BUILD, cls.work)

    def setUp(self):
        holder = tempfile.TemporaryDirectory(dir=self.work)
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        for name, text in {
            "CMakeLists.txt": PROJECT, "good.cpp": GOOD, "bad.cpp": BAD, "parts/part.hpp": PART,
            "other parts/third.hpp": THIRD, "parts/forced.hpp": "#define FORCED\n",
        }.items():
            self.write(name, text)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def configure(self, *settings, compiler="g++", tree="build"):
        """What it said."""
        status, said = run(*configure(
            self.folder, self.folder / tree, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_CXX_FLAGS={FLAGS}", *settings, compiler=compiler))
        self.assertEqual(status, 0, said)
        return said

    def build(self, *arguments):
        """The status, what was said, and the sources that were looked at."""
        status, said = run("cmake", "--build", self.folder / "build", *arguments)
        looked = re.findall(r"^\[\d+/\d+\] coro_check .*/(\w+\.cpp)$", said, re.M)
        return status, said, sorted(looked)

    def place(self, file):
        """file:line:column of the wrong condition."""
        lines = (self.folder / file).read_text(encoding="utf-8").split("\n")
        return f"{file}:{1 + lines.index(WRONG.rstrip())}:5: "

    def test_the_notice_is_said_once_and_can_be_silenced(self):
        said = self.configure()
        self.assertEqual(said.count(NOTICE), is_told(), said)
        if is_told():
            self.assertIn("-DCMAKE_CXX_COMPILER=clang++-19", said)
            self.assertIn("coro_check(TARGET)", said)
            self.assertIn("-DCORO_COMPILER_NOTICE=OFF", said)
        self.assertNotIn(NOTICE, self.configure("-DQUIET=QUIET"))
        self.assertNotIn(NOTICE, self.configure("-DQUIET=", "-DCORO_COMPILER_NOTICE=OFF"))
        self.assertEqual(self.configure("-UCORO_COMPILER_NOTICE").count(NOTICE), is_told())
        self.assertNotIn(NOTICE, self.configure(compiler="clang++-19", tree="clang"))

    def test_a_build_fails_where_something_is_wrong_and_looks_again_at_what_changed(self):
        self.configure()
        status, said, looked = self.build("--", "-k", "0")
        self.assertNotEqual(status, 0)
        self.assertEqual(looked, ["bad.cpp", "good.cpp"])
        self.assertEqual(said.count("g++ 12"), 1, said)
        self.assertEqual(said.count("FAILED"), 1, said)
        self.assertIn(self.place("bad.cpp") + SAYS, said)
        self.assertEqual(list(self.folder.rglob("*.o")), [])

        good = ("--target", "good_coro_check")
        self.assertEqual(self.build(*good)[::2], (0, []), "what has not changed is left alone")

        self.write("parts/part.hpp", PART.replace(RIGHT, WRONG))
        status, said, looked = self.build(*good)
        self.assertNotEqual(status, 0)
        self.assertEqual(looked, ["good.cpp"])
        self.assertIn(self.place("parts/part.hpp"), said)

        self.write("parts/part.hpp", PART)
        self.assertEqual(self.build(*good)[::2], (0, ["good.cpp"]))
        self.assertEqual(self.build(*good)[::2], (0, []))

        self.write("good.cpp", GOOD.replace(RIGHT, WRONG))
        status, said, looked = self.build(*good)
        self.assertNotEqual(status, 0)
        self.assertIn(self.place("good.cpp"), said)

    def test_a_check_that_cannot_look_fails_the_build_and_says_why(self):
        self.configure("-DCORO_CHECK_COMPILER=clang++-absent")
        status, said, _ = self.build("--target", "good_coro_check")
        self.assertNotEqual(status, 0)
        self.assertIn(ABSENT, said)

    def test_the_source_tree_as_a_part_of_the_consumer(self):
        said = self.configure(f"-DSOURCE={ROOT}")
        self.assertEqual(said.count(NOTICE), is_told(), said)
        status, said, looked = self.build("--target", "bad_coro_check")
        self.assertNotEqual(status, 0)
        self.assertEqual(looked, ["bad.cpp"])
        self.assertIn(self.place("bad.cpp") + SAYS, said)
        self.assertEqual(list(self.folder.rglob("*.o")), [], "the library is not needed")

    def coro_check(self, *arguments, **more):
        return run(self.prefix / "bin/coro-check", *arguments, cwd=self.folder, **more)

    def test_by_hand(self):
        include = f"-I{self.prefix}/include"
        self.assertEqual(self.coro_check("bad.cpp", "--", "-std=c++20", include),
                         (1, self.place("bad.cpp") + SAYS + "\n"))
        self.configure("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_UNITY_BUILD=ON")
        status, said = self.coro_check("--build", "build", "good.cpp")
        self.assertEqual(status, 2, said)
        self.assertIn("-DCMAKE_UNITY_BUILD=OFF", said)
        self.configure("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_UNITY_BUILD=OFF")
        self.assertEqual(self.coro_check("--build", "build", "good.cpp"), (0, ""))

        status, said = self.coro_check("bad.cpp", "--", "-std=c++20", "-I/nowhere")
        self.assertEqual(status, 2)
        self.assertIn("coro-check: bad.cpp: clang++-19 cannot compile it", said)
        self.assertIn("'coro/core/task.hpp' file not found", said)
        status, said = self.coro_check("--build", "nowhere")
        self.assertEqual(status, 2)
        self.assertIn("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", said)
        self.assertEqual(self.coro_check()[0], 2)

    def test_by_hand_without_clang(self):
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "python3").symlink_to(sys.executable)
        status, said = self.coro_check("bad.cpp", env={**os.environ, "PATH": str(programs)})
        self.assertEqual(status, 2)
        self.assertEqual(said, "coro-check: " + ABSENT.replace("absent", "19") + "\n")


if __name__ == "__main__":
    unittest.main()
