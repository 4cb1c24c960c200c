#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""tests/planted/run.py: each patch still fits and names tests that there are; a patch that does not
fit, a test that does not run and a mistake that nobody notices are errors; all have their turn."""
import contextlib
import importlib.util
import io
import os
import pathlib
import re
import shutil
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
SPEC = importlib.util.spec_from_file_location("planted", ROOT / "tests/planted/run.py")
planted = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(planted)

HEAD = "breaks: A promise.\nsource: tests/a_test.cpp\nfails: a.b\n"
DIFF = "\n--- a/src/x.cpp\n+++ b/src/x.cpp\n@@\n int a;\n-int b;\n+int c;\n"


def patches():
    return sorted((ROOT / "tests/planted").glob("*.patch"))


@contextlib.contextmanager
def written(text, code="int a;\nint b;\nint d;\n"):
    """A patch with that text, and a tree with src/x.cpp."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "src").mkdir()
        (root / "src/x.cpp").write_text(code)
        (root / "p.patch").write_text(text)
        yield root / "p.patch", root


class of_the_tree(unittest.TestCase):
    def test_each_patch_fits(self):
        self.assertGreater(len(patches()), 3)
        for path in patches():
            with self.subTest(path.name), tempfile.TemporaryDirectory() as folder:
                one = planted.patch(path)
                for file in one.files():
                    target = pathlib.Path(folder) / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, target)
                one.plant(pathlib.Path(folder))

    def test_each_patch_names_tests_that_there_are(self):
        for path in patches():
            one = planted.patch(path)
            text = "".join((ROOT / file).read_text(encoding="utf-8")
                           for file in one.head["source"])
            for test in one.head["fails"]:
                # A parametrised one: INSTANCE/SUITE.NAME/PARAMETER.
                suite, name = re.sub(r"^[^./]*/|/[^./]*$", "", test).split(".")
                found = re.search(rf"\bTEST(_F|_P)?\({suite},\s*{name}\)", text)
                self.assertTrue(found, f"{path.name}: no test {suite}.{name}")


class the_driver(unittest.TestCase):
    def refused(self, text, sentence, code="int a;\nint b;\n"):
        with written(text, code) as (path, root):
            with self.assertRaisesRegex(planted.planted_error, sentence):
                planted.patch(path).plant(root)

    def test_a_patch_is_applied_where_its_text_is(self):
        with written(HEAD + DIFF, "int z;\n\nint a;\nint b;\n") as (path, root):
            planted.patch(path).plant(root)
            self.assertEqual((root / "src/x.cpp").read_text(), "int z;\n\nint a;\nint c;\n")

    def test_one_that_does_not_fit_any_more_says_so(self):
        gone = "p.patch does not fit any more: .* 0 times in src/x.cpp"
        self.refused(HEAD + DIFF, gone, "int a;\n")
        twice = "int a;\nint b;\n" * 2
        self.refused(HEAD + DIFF, "does not fit any more: .* 2 times in src/x.cpp", twice)
        self.refused(HEAD + DIFF.replace("x.cpp", "y.cpp"), "0 times in src/y.cpp")

    def test_one_that_says_too_little_is_refused(self):
        self.refused(HEAD, "p.patch has no diff")
        self.refused(HEAD.replace("breaks: A promise.\n", "") + DIFF, "no line 'breaks: …'")
        self.refused("who: me\n" + HEAD + DIFF, "'who: me' is no line 'key: value'")
        self.refused(HEAD + DIFF.replace("+int c;", "+int b;"), "changes nothing in src/x.cpp")
        self.refused(HEAD + DIFF.replace(" int a;", "int a;"), "begins with none of")

    def test_a_run_is_judged(self):
        run = "[ RUN      ] a.b\n"
        self.assertEqual(planted.judge(0, run + "[       OK ] a.b (0 ms)\n"), "passed")
        self.assertEqual(planted.judge(1, run + "[  FAILED  ] a.b (0 ms)\n"), "failed")
        self.assertEqual(planted.judge(-6, run), "failed")
        self.assertEqual(planted.judge(0, run + "[  SKIPPED ] a.b (0 ms)\n"), "skipped")
        self.assertEqual(planted.judge(0, "[==========] 0 tests\n"), "none")

    def demanded(self, outcome, wanted):
        with written(HEAD + DIFF) as (path, _):
            with unittest.mock.patch.object(planted, "outcome", return_value=(outcome, "text")):
                planted.demand(planted.patch(path), path, wanted)

    def test_a_mistake_that_nobody_notices_is_an_error(self):
        self.demanded("failed", "failed")
        self.demanded("passed", "passed")
        for outcome, wanted, sentence in (
                ("passed", "failed", "a.b passes though this is broken: A promise"),
                ("failed", "passed", "a.b fails without the mistake"),
                ("skipped", "passed", "no test ran that is called a.b"),
                ("none", "failed", "no test ran that is called a.b"),
                ("none", "passed", "no test ran that is called a.b")):
            with self.assertRaisesRegex(planted.planted_error, sentence):
                self.demanded(outcome, wanted)

    def test_one_whose_test_may_be_skipped_is_not_tried(self):
        head = HEAD.replace("a.b", "run_begins.b")
        self.assertNotEqual(head, HEAD)
        with written(head + DIFF) as (path, _):
            with unittest.mock.patch.object(planted, "outcome", return_value=("skipped", "text")):
                with self.assertRaisesRegex(planted.not_tried, "run_begins.b is skipped here"):
                    planted.demand(planted.patch(path), path, "passed")
        with unittest.mock.patch.object(planted, "try_patch", side_effect=planted.not_tried("x")), \
                unittest.mock.patch("sys.argv", ["run.py", "--build", ".", "--full"]), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(planted.main(), 0)
        self.assertIn("not tried: x", said.getvalue())
        self.assertIn("\n0 of ", said.getvalue())

    def test_a_test_that_hangs_has_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "hangs"
            program.write_text("#!/bin/sh\nexec sleep 60\n")
            program.chmod(0o755)
            with unittest.mock.patch.object(planted, "LIMIT", 0.2):
                self.assertEqual(planted.outcome(program, "a.b", "")[0], "failed")

    def test_the_program_ends_with_1_when_one_lives(self):
        for error, status in ((None, 0), (planted.planted_error("it lives"), 1)):
            with unittest.mock.patch.object(planted, "try_patch", side_effect=error), \
                    unittest.mock.patch("sys.argv", ["run.py", "--build", ".", "--full"]), \
                    contextlib.redirect_stdout(io.StringIO()) as said:
                self.assertEqual(planted.main(), status)
            self.assertEqual("it lives" in said.getvalue(), status == 1)

    def test_all_have_their_turn(self):
        paths = patches()
        turns = -(-len(paths) // planted.AT_A_TIME)
        for first in (0, 17):
            seen = [planted.in_turn(paths, first + turn) for turn in range(turns)]
            self.assertEqual({len(each) for each in seen}, {planted.AT_A_TIME})
            self.assertEqual({path for each in seen for path in each}, set(paths))
        self.assertEqual(set(planted.in_turn(paths, None)), set(paths))
        with unittest.mock.patch.dict(os.environ, CORO_TEST_TURN="17"):
            os.environ.pop("CORO_TEST_FULL", None)
            self.assertEqual(planted.turn(), 17)
            os.environ["CORO_TEST_FULL"] = "1"
            self.assertIsNone(planted.turn())


if __name__ == "__main__":
    unittest.main()
