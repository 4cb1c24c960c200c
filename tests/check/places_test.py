#!/usr/bin/env python3
# ctest: timeout=120 label=static
"""coro-check reports what is wrong in the user's files, wherever they are, and in no others."""
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import coro_check  # noqa: E402

CLANG = "clang++-19"
TASK = """#include <coroutine>
struct task {
    struct promise_type {
        task get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_value(int) {}
        void unhandled_exception() {}
    };
};
struct yes {
    bool await_ready() { return true; }
    void await_suspend(std::coroutine_handle<>) {}
    bool await_resume() { return true; }
};
#include <part.hpp>
"""
WRONG = "task %s() { if (co_await yes()) co_return 1; co_return 2; }\n"
FLAGS = ["-std=c++20"]


def reported(source, places, outside=(), is_named=True, flags=()):
    """In which of these files a finding would be reported, without a look at the files."""
    found = [(place, 1, 1, "condition") for place in places]
    with unittest.mock.patch.multiple(coro_check, findings=lambda dump: found,
                                      dump_of=lambda *command: ""), \
         unittest.mock.patch.object(os.path, "exists", lambda path: True):
        lines = list(coro_check.check(CLANG, source, flags, "/", outside, is_named))
    return [line.split(":")[0] for line in lines]


class places(unittest.TestCase):
    def test_a_project_below_usr_is_the_users(self):
        for folder in ("/usr/src/app", "/usr/home/me", "/usr/local/src/app", "/usr/share/app",
                       "/usr/includes", "/home/me/usr/include"):
            files = [f"{folder}/main.cpp", f"{folder}/part.hpp", f"{folder}/include/part.hpp"]
            self.assertEqual(reported(files[0], files), files)

    def test_headers_of_the_system_are_not(self):
        own = coro_check.directories_of_system(CLANG)[-1]
        self.assertTrue(os.path.isdir(own), own)
        for header in ("/usr/include/c++/12/vector", "/usr/local/include/coro/core/task.hpp",
                       "/usr/lib/gcc/x86_64-linux-gnu/12/include/a.h", f"{own}/include/a.h"):
            self.assertEqual(reported("/usr/src/app/main.cpp", [header]), [], header)
        self.assertEqual(reported("/home/a.cpp", ["/opt/other/part.hpp"],
                                  flags=("-isystem", "/opt/other")), [])

    def test_a_source_in_a_directory_of_the_system_is_the_users(self):
        for source in ("/usr/lib/app/main.cpp", "/usr/include/app/main.cpp"):
            for is_named in (True, False):
                self.assertEqual(reported(source, [source], is_named=is_named), [source])

    def test_what_is_outside_is_reported_only_if_it_is_named(self):
        files = ["/home/other/main.cpp", "/home/other/part.hpp"]
        self.assertEqual(reported(files[0], files, ["/home/other"]), files[:1])
        self.assertEqual(reported(files[0], files, ["/home/other"], is_named=False), [])
        self.assertEqual(reported(files[0], files, ["/home/oth"]), files)


class the_command(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(os.path.realpath(holder.name))
        self.source = self.folder / "main.cpp"
        self.source.write_text(TASK + WRONG % "in_main", encoding="utf-8")
        (self.folder / "part.hpp").write_text("#pragma once\n" + WRONG % "in_part",
                                              encoding="utf-8")

    def run_it(self, *arguments):
        """The status, and the files of the findings."""
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = coro_check.main(list(arguments))
        lines = said.getvalue().splitlines()
        return status, [os.path.basename(line.split(":")[0]) for line in lines]

    def test_a_source_below_a_directory_of_the_system(self):
        self.assertEqual(self.run_it(str(self.source), "--", *FLAGS, f"-isystem{self.folder}"),
                         (1, ["main.cpp"]))
        self.assertEqual(self.run_it(str(self.source), "--", *FLAGS, f"-I{self.folder}"),
                         (1, ["main.cpp", "part.hpp"]))

    def test_a_source_below_a_directory_of_outside(self):
        flags = [*FLAGS, f"-I{self.folder}"]
        entry = {"directory": str(self.folder), "file": "main.cpp",
                 "arguments": ["g++", *flags, "-c", "main.cpp"]}
        (self.folder / "compile_commands.json").write_text(json.dumps([entry]), encoding="utf-8")
        outside, build = ["--outside", str(self.folder)], ["--build", str(self.folder)]
        self.assertEqual(self.run_it(*outside, str(self.source), "--", *flags), (1, ["main.cpp"]))
        self.assertEqual(self.run_it(*outside, *build, str(self.source)), (1, ["main.cpp"]))
        self.assertEqual(self.run_it(*outside, *build), (0, []))


if __name__ == "__main__":
    unittest.main()
