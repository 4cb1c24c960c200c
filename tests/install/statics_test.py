#!/usr/bin/env python3
# ctest: timeout=300
"""coro::checked_statics, as a program that links it meets it: a fiber that waits in the initialiser
of a local static is named at its await, and everything else is as without. By both compilers, with
the static and with the shared library, which has no part of it."""
import pathlib
import subprocess
import tempfile
import unittest

from package import BUILD, configure, install, output_of, say, shared_tree

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(statics LANGUAGES CXX)
find_package(coro 0.1 CONFIG REQUIRED)
foreach(name IN ITEMS checked plain)
    add_executable(${name} main.cpp)
endforeach()
target_link_libraries(checked PRIVATE coro::checked_statics)
target_link_libraries(plain PRIVATE coro::coro)
"""
PROGRAM = r"""#include <coro/coro.hpp>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

int wait_and_make() {
    coro::await(coro::yield());  // the place
    return 7;
}
int make() { return 7; }
int fail() { throw std::runtime_error("no value"); }
int make_by_another() {
    static const int inner = make();
    return inner;
}
int make_after_another() {
    static const int inner = make();
    coro::await(coro::yield());  // behind an inner one
    return inner;
}

void waits() { static const int value = wait_and_make(); std::printf("%d\n", value); }
void waits_behind() { static const int value = make_after_another(); std::printf("%d\n", value); }
void waits_later() {
    for (int i = 0; i < 2; ++i) {
        static const int value = make();
        static const int nested = make_by_another();
        coro::await(coro::yield());
        std::printf("%d\n", value + nested);
    }
}
void fails() {
    for (int i = 0; i < 2; ++i) {
        try {
            static const int value = fail();
            std::printf("%d\n", value);
        } catch (const std::runtime_error& error) {
            coro::await(coro::yield());
            std::puts(error.what());
        }
    }
}
coro::task<int> of_a_task() {
    static const int value = make();
    co_await coro::yield();
    co_return value;
}
void awaits_a_task() { std::printf("%d\n", coro::await(of_a_task())); }
void spawns() {
    static const int sum = [] {
        coro::local_task_group group;
        return 1;
    }();
    std::printf("%d\n", sum);
}

int main(int, char** arguments) {
    const std::string_view what = arguments[1];
    const auto body = what == "waits" ? waits : what == "waits_behind" ? waits_behind
                    : what == "waits_later" ? waits_later : what == "fails" ? fails
                    : what == "awaits_a_task" ? awaits_a_task : spawns;
    coro::run(coro::fiber({}, body));
    static const int behind = make();
    std::printf("ended %d\n", behind);
}
"""
SAYS = ("coro::await in the initialiser of a local static: the next task that comes there stops "
        "this loop for ever; wait first, and initialise then")
RIGHT = {"waits_later": "14\n14\n", "fails": "no value\nno value\n", "awaits_a_task": "7\n"}


class statics(unittest.TestCase):
    def build(self, tree, compiler):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        work = pathlib.Path(holder.name)
        (work / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")
        (work / "main.cpp").write_text(PROGRAM, encoding="utf-8")
        say(configure(work, work / "build", f"-DCMAKE_PREFIX_PATH={install(tree, work)}",
                      compiler=compiler))
        say(["cmake", "--build", work / "build"])
        return work / "build"

    def run_all(self, programs):
        for name, printed in RIGHT.items():
            for program in ("checked", "plain"):
                with self.subTest(name, program=program):
                    self.assertEqual(output_of(programs / program, name), printed + "ended 7\n")
        for name, place in (("waits", "the place"), ("waits_behind", "behind an inner one")):
            with self.subTest(name):
                said = self.said_by_abort(programs / "checked", name)
                self.assertIn(f"main.cpp:{self.line_of(place)} (task ", said)
                self.assertIn(SAYS, said)
                self.assertEqual(output_of(programs / "plain", name), "7\nended 7\n")
        with self.subTest("spawns"):
            self.assertIn("a local_task_group in the initialiser of a local static",
                          self.said_by_abort(programs / "checked", "spawns"))
            self.assertEqual(output_of(programs / "plain", "spawns"), "1\nended 7\n")

    def said_by_abort(self, program, name):
        run = subprocess.run([program, name], capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (-6, ""), run.stderr)
        return run.stderr

    @staticmethod
    def line_of(comment):
        lines = PROGRAM.split("\n")
        return 1 + next(i for i, line in enumerate(lines) if line.endswith("// " + comment))

    def test_with_the_static_library(self):
        self.run_all(self.build(BUILD, "g++"))

    def test_with_the_static_library_by_the_other_compiler(self):
        self.run_all(self.build(BUILD, "clang++-19"))

    def test_with_the_shared_library(self):
        self.run_all(self.build(shared_tree(), "g++"))


if __name__ == "__main__":
    unittest.main()
