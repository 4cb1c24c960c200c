#!/usr/bin/env python3
# ctest: timeout=120 label=static
"""What scripts/test does in turn: each turn does so many values, each value has turns, and the
id of the commit decides. All have their turn where there is no commit, and with --full."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
OPTIONS = "src/poller/uring_options.hpp"
FEATURES = set(re.findall(r"^\s+uring_(\w+) = 1u <<",
                          (ROOT / OPTIONS).read_text(encoding="utf-8"), re.M))
ALL = {"masks": {"6.1", "6.8"}, "features": FEATURES, "errors": {"EPERM", "ENOSYS", "EOPNOTSUPP"},
       "compilers": {"g++", "clang++-19"}, "sanitizers": {"address", "thread"}}
AT_A_TIME = {"masks": 1, "features": 2, "errors": 1, "compilers": 1,
             "sanitizers": 1}


def chosen(*arguments, root=ROOT, turn=None):
    """{"masks": {...}, "features": {...}, ...} as scripts/test --turn prints them."""
    environment = {name: value for name, value in os.environ.items() if name != "CORO_TEST_TURN"}
    if turn is not None:
        environment["CORO_TEST_TURN"] = str(turn)
    run = subprocess.run([root / "scripts/test", *arguments, "--turn"], env=environment,
                         capture_output=True, text=True, check=True)
    rows = (line.split(": ") for line in run.stdout.splitlines())
    return {name: set(values.split()) for name, values in rows}


@contextlib.contextmanager
def history():
    """A folder with the script, and a function that commits there and returns the id, which is the
    same whenever the test runs."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("scripts/test", "scripts/packages.sh", OPTIONS):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        when = {"GIT_AUTHOR_DATE": "@1700000000 +0000", "GIT_COMMITTER_DATE": "@1700000000 +0000"}

        def git(*command):
            run = subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e",
                                  "-c", "commit.gpgSign=false", *command], cwd=root,
                                 env=os.environ | when, check=True, capture_output=True, text=True)
            return run.stdout.strip()

        def commit():
            if not (root / ".git").exists():
                git("init", "-q", "--object-format=sha1")
            git("commit", "-q", "--allow-empty", "-m", "one more")
            return git("rev-parse", "HEAD")

        yield root, commit


class turns(unittest.TestCase):
    def test_turns_that_follow_each_other_do_all(self):
        needed = {kind: -(-len(values) // AT_A_TIME[kind]) for kind, values in ALL.items()}
        for first in (0, 347):
            turns = [chosen(turn=first + number) for number in range(max(needed.values()))]
            for kind, values in ALL.items():
                seen = [turn[kind] for turn in turns[:needed[kind]]]
                self.assertEqual({len(each) for each in seen}, {AT_A_TIME[kind]})
                self.assertEqual(set().union(*seen), values)

    def test_full_is_all(self):
        self.assertGreater(len(FEATURES), 5)
        self.assertEqual(chosen("--full", turn=3), ALL)

    def test_the_id_of_the_commit_says_whose_turn_it_is(self):
        with history() as (root, commit):
            self.assertEqual(chosen(root=root), ALL, "without a history all have their turn")
            for _ in range(3):
                turn = int(commit()[:7], 16)
                self.assertEqual(chosen(root=root), chosen(turn=turn))

    def test_pushes_of_an_even_number_of_commits_leave_nothing_out(self):
        seen = {kind: set() for kind in ALL}
        with history() as (root, commit):
            for _ in range(60):
                commit()
                commit()
                for kind, values in chosen(root=root).items():
                    seen[kind] |= values
                if seen == ALL:
                    break
        self.assertEqual(seen, ALL)

    def test_tests_are_told_of_it_and_the_compilers_are_named(self):
        """In a copy of the script, with a cmake that only says what it was told."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            shutil.copytree(ROOT / "scripts", root / "scripts")
            (root / "bin").mkdir()
            cmake = root / "bin/cmake"
            cmake.write_text('#!/bin/sh\necho "turn ${CORO_TEST_TURN:-of all}, '
                             'full ${CORO_TEST_FULL:-0}"\n')
            cmake.chmod(0o755)
            environment = os.environ | {"PATH": f"{root / 'bin'}:{os.environ['PATH']}",
                                        "CORO_TEST_TURN": "17", "CORO_TEST_FULL": "1"}
            for more, told in (((), "turn 17, full 0"), (("--full",), "turn of all, full 1")):
                run = subprocess.run(
                    [root / "scripts/test", "--no-install", "--stage", "debug", *more],
                    env=environment, capture_output=True, text=True, check=True)
                self.assertRegex(run.stdout, r"(?m)^compilers: g\+\+ .*, clang 19")
                log = (root / "build/logs/debug.log").read_text(encoding="utf-8")
                self.assertEqual(set(log.splitlines()), {told})


if __name__ == "__main__":
    unittest.main()
