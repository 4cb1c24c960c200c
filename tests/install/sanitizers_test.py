#!/usr/bin/env python3
# ctest: timeout=600
"""One library, built without sanitizers, serves programs that are built with one: nothing false is
reported about fibers, loops and threads, on both pollers; what is wrong is still found. That of one
compiler serves programs of the other."""
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
SANITIZERS = {"none": [], "address": ["-fsanitize=address"], "thread": ["-fsanitize=thread"],
              "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=all"],
              "leak": ["-fsanitize=leak"]}
LINKED_ONLY = {"leak": "none"}  # from the same object
LIBRARIES = {"shared": COMPILERS, "static": COMPILERS, "clang": ["g++"]}  # and who links them
POLLERS = ("automatic", "epoll")
# The planted mistakes: what finds them, and what it says.
PLANTED = {
    "overflow": ("address", "ERROR: AddressSanitizer: stack-buffer-overflow"),
    "frame": ("address", "ERROR: AddressSanitizer: heap-use-after-free"),
    "race": ("thread", "WARNING: ThreadSanitizer: data race"),
    "shift": ("undefined", "runtime error: shift exponent 40 is too large"),
    "leak": ("leak", "ERROR: LeakSanitizer: detected memory leaks"),
}
# What a sanitizer has that follows stacks and is not the address sanitizer.
SWITCHES_ALONE = """
static int switches;
void __sanitizer_start_switch_fiber(void** shadow, const void* bottom, unsigned long size) {
    (void)shadow; (void)bottom; (void)size;
    ++switches;
}
void __sanitizer_finish_switch_fiber(void* shadow, const void** bottom, unsigned long* size) {
    (void)shadow; (void)bottom; (void)size;
    --switches;
}
__attribute__((destructor)) static void end(void) {
    if (switches != 0) __builtin_abort();
}
"""
PATIENCE = 120  # seconds, against hanging only
SETTINGS = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
            "TSAN_OPTIONS": "halt_on_error=0:exitcode=66"}


def done(command):
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{run.stderr}")


def clang_tree():
    """The tree with a static library by clang, which is kept."""
    tree = BUILD.with_name(BUILD.name + "-clang")
    package.say(package.configure(ROOT, tree, "-DCORO_BUILD_TESTS=OFF", "-DCORO_BUILD_PERF=OFF",
                                  "-DCORO_BUILD_EXAMPLES=OFF", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
                                  compiler="clang++-19"))
    package.say(["cmake", "--build", tree])
    return tree


def run(program, which, poller):
    """The status of the program and all that it says."""
    ended = subprocess.run([program, which], capture_output=True, text=True, timeout=PATIENCE,
                           check=False, env={**os.environ, **SETTINGS, "CORO_POLLER": poller})
    return ended.returncode, ended.stdout, ended.stderr


class sanitizers(unittest.TestCase):
    maxDiff = None

    def build(self, work):
        """The programs, by library, compiler and sanitizer."""
        trees = {"shared": package.shared_tree(), "static": BUILD, "clang": clang_tree()}
        prefixes = {}
        for library, tree in trees.items():
            (work / library).mkdir()
            prefixes[library] = package.install(tree, work / library)

        def compile_one(how):
            compiler, sanitizer = how
            done([compiler, "-std=c++20", "-O1", "-g1", "-Wall", "-Wextra", "-Werror",
                  *SANITIZERS[sanitizer], *package.pkg_config(prefixes["static"], "--cflags"),
                  "-c", PROGRAM, "-o", work / f"{compiler}-{sanitizer}.o"])

        def link(how):
            library, compiler, sanitizer = how
            place = next(prefixes[library].rglob("libcoro.*")).parent
            done([compiler, *SANITIZERS[sanitizer],
                  work / f"{compiler}-{LINKED_ONLY.get(sanitizer, sanitizer)}.o",
                  "-o", work / "-".join(how), *package.pkg_config(prefixes[library], "--libs"),
                  f"-Wl,-rpath,{place}"])

        programs = [(library, compiler, sanitizer) for library, users in LIBRARIES.items()
                    for compiler in users for sanitizer in SANITIZERS]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(compile_one, [(compiler, sanitizer) for compiler in COMPILERS
                                        for sanitizer in SANITIZERS
                                        if sanitizer not in LINKED_ONLY]))
            list(pool.map(link, programs))
        return {how: work / "-".join(how) for how in programs}

    def test_a_runtime_that_has_only_some_of_the_functions_is_not_asked_for_others(self):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            runtime = work / "switches.c"
            runtime.write_text(SWITCHES_ALONE)
            done(["gcc", "-c", runtime, "-o", work / "switches.o"])
            prefix = package.install(BUILD, work)
            program = work / "program"
            done(["g++", "-std=c++20", "-O1", PROGRAM, work / "switches.o", "-o", program,
                  *package.pkg_config(prefix, "--cflags"), *package.pkg_config(prefix, "--libs")])
            for poller in POLLERS:
                with self.subTest(poller=poller):
                    status, told, said = run(program, "ok", poller)
                    self.assertEqual((status, said), (0, ""))
                    self.assertTrue(told.endswith("end\n"), told)

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
