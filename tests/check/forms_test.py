#!/usr/bin/env python3
# ctest: timeout=300 label=static
"""coro-check finds every planted form and nothing else; and g++ 12.2 really miscompiles each.

The forms stand in forms.txt, which says how it is read. If this fails because of another g++, then
forms and check must learn what it does.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import coro_check  # noqa: E402

REFUSED = {"array", "operand"}
MAIN = """
#include <cstdio>
#include <cstdlib>
int main(int, char** argv) {
    int (*const forms[])() = {%s};
    const int wrong = forms[std::atoi(argv[1])]();
    std::fflush(stdout);
    std::_Exit(wrong);
}
"""
RUN = """
int run_{0}() {{
    int result = 0;
    {{
        auto root = [](int& into) -> task<int> {{
            int value = 0;
            value = co_await form_{0}(true, 1);
            into = value;
            co_return value;
        }};
        task<int> whole = root(result);
        runnable.push_back(whole.frame);
        while (!runnable.empty()) {{
            auto next = runnable.front();
            runnable.pop_front();
            next.resume();
        }}
    }}
    return result == 1 && wrongs == 0 && alive.empty() ? 0 : 1;
}}
"""


def forms():
    out = []
    for number, line in enumerate((HERE / "forms.txt").read_text(encoding="utf-8").split("\n"), 1):
        if line and not line.startswith("#"):
            kind, body = line.split(": ", 1)
            out.append((number, kind, body))
    return out


def function(form):
    number, _, body = form
    return (f'#line {number} "forms.txt"\n'
            f"task<int> form_{number}([[maybe_unused]] bool on, [[maybe_unused]] int one) "
            f"{{ {body} }}\n")


def source(some):
    return '#include "bare.hpp"\n' + "".join(map(function, some))


def gxx(text, *flags):
    return subprocess.run(
        ["g++", "-std=c++20", "-w", f"-I{HERE}", *flags, "-x", "c++", "-"],
        input=text, capture_output=True, text=True, check=False)  # fmt: skip


class the_check(unittest.TestCase):
    def test_finds_every_planted_form_and_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "forms.cpp"
            path.write_text(source(forms()), encoding="utf-8")
            dump = coro_check.dump_of("clang++-19", path, ["-std=c++20", f"-I{HERE}"], folder)
        found = {}
        for file, line, _, kind in coro_check.findings(dump):
            self.assertEqual(file, "forms.txt", f"{line}: {kind}")
            found.setdefault(line, set()).add(kind)
        for number, kind, body in forms():
            with self.subTest(line=number, body=body):
                if kind == "right":
                    self.assertNotIn(number, found)
                else:
                    self.assertIn(kind, found.get(number, ()))

    def test_no_cure_says_what_spawn_post_and_blocking_forbid(self):
        for kind, (_, cure) in coro_check.SENTENCES.items():
            self.assertNotIn("by reference", cure, kind)

    def test_every_kind_is_planted(self):
        self.assertEqual({kind for _, kind, _ in forms()}, {"right", *coro_check.SENTENCES})


class gcc_12(unittest.TestCase):
    def test_refuses_what_is_said_to_be_refused(self):
        for each in forms():
            with self.subTest(form=each):
                if each[1] == "array":
                    run = gxx(source([each]), "-fsyntax-only")
                    self.assertIn(f"forms.txt:{each[0]}", run.stderr)
                    self.assertIn("array used as initializer", run.stderr)
                elif each[1] == "operand":
                    run = gxx(source([each]), "-c", "-o", "/dev/null")
                    self.assertIn("internal compiler error", run.stderr)

    def compiled_rightly(self, optimisation):
        compiled = [each for each in forms() if each[1] not in REFUSED]
        runs = "".join(RUN.format(number) for number, _, _ in compiled)
        table = ", ".join(f"run_{number}" for number, _, _ in compiled)
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "forms")
            run = gxx(source(compiled) + runs + MAIN % table, optimisation, "-o", program)
            self.assertEqual(run.returncode, 0, run.stderr)
            for index, (number, kind, body) in enumerate(compiled):
                command = f"ulimit -c 0 -t 5; exec {program} {index}"
                end = subprocess.run(["bash", "-c", command], check=False, capture_output=True)
                with self.subTest(line=number, kind=kind, body=body):
                    self.assertEqual(end.returncode == 0, kind == "right", end.returncode)

    def test_miscompiles_what_is_said_to_be_miscompiled(self):
        self.compiled_rightly("-O0")

    def test_miscompiles_it_optimised_too(self):
        self.compiled_rightly("-O2")


if __name__ == "__main__":
    unittest.main()
