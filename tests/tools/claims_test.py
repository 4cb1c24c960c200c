#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""tools/claims.py refuses promises without evidence, and evidence that did not run."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
TREE = {
    "tests/unit/a_test.cpp": "TEST(Task, Returns) {}\nTEST_P(Stream, Closes) {}\n",
    "scripts/test": "stage_tiny() { :; }\n",
    "tests/CMakeLists.txt": 'coro_add_test(unit any 240 ALLOW_SKIP "Nobody\\\\..*"\n'
                            '    "(All/)?Stream\\\\.Closes(/.*)?")\n',
}
LOGS = {
    "logs/unit.log": "[       OK ] Task.Returns (0 ms)\n[       OK ] All/Stream.Closes/0 (0 ms)\n",
    "logs/tiny.log": " 1/2 Test  #1: unit ......   Passed    0.1 sec\n",
}


class claims(unittest.TestCase):
    def check(self, rows, *, logs=None):
        page = "# Promises\n\n| promise | hazard | test |\n|---|---|---|\n" + "\n".join(rows) + "\n"
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**TREE, "docs/promises.md": page, **(logs or {})}.items():
                path = pathlib.Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            ran = ["--ran", f"{folder}/logs"] if logs is not None else []
            run = subprocess.run(
                [sys.executable, ROOT / "tools/claims.py", "--root", folder, *ran],
                capture_output=True,
                text=True,
                check=False,
            )
            return run.returncode, run.stdout

    def refuses(self, row, sentence, **how):
        status, output = self.check([row], **how)
        self.assertEqual(status, 1, output)
        self.assertIn(sentence, output)

    def accepts(self, row, **how):
        status, output = self.check([row], **how)
        self.assertEqual(status, 0, output)

    def test_what_exists(self):
        self.accepts("| returns | | `Task.Returns` |")
        self.accepts("| closes, always | | `Stream.Closes`, `Stream.*` and `scripts/test` |")
        self.accepts("| small | | `scripts/test --stage tiny` |")

    def test_what_does_not_exist(self):
        self.refuses("| returns | | `Task.Gone` |", "no test Task.Gone exists")
        self.refuses("| returns | | `Gone.*` |", "no test Gone.* exists")
        self.refuses("| returns | | `scripts/gone` |", "is neither")
        self.refuses("| returns | | `scripts/test --stage gone` |", "no stage gone")
        self.refuses("| returns | | trust me |", "names no test")

    def test_the_form_of_a_row(self):
        self.accepts("| returns | it waits for ever | `Task.Returns` |")
        self.refuses("| returns | `Task.Returns` |", "a row has three cells")
        self.refuses("| returns | | `Task.Returns`, `Task.Returns` |", "stands here twice")
        rows = ["| returns | | `Task.Returns` |", "| returns | | `Stream.Closes` |"]
        status, output = self.check(rows)
        self.assertEqual(status, 1, output)
        self.assertIn("docs/promises.md:6: returns: this promise stands in line 5 already", output)

    def test_an_empty_page(self):
        self.assertEqual(self.check([])[0], 1)

    def test_what_ran(self):
        for evidence in (
            "Task.Returns",
            "Stream.Closes",
            "ctest unit",
            "scripts/test --stage tiny",
        ):
            self.accepts(f"| a | | `{evidence}` |", logs=LOGS)

    def test_what_did_not_run(self):
        none = {"logs/other.log": "[  FAILED  ] Task.Returns (0 ms)\n"}
        self.refuses("| a | | `Task.Returns` |", "ran and passed", logs=none)
        self.refuses("| a | | `ctest unit` |", "did not run", logs=none)
        self.refuses("| a | | `scripts/test --stage tiny` |", "did not run", logs=none)

    def test_what_was_skipped(self):
        logs = {"logs/unit.log": "[  SKIPPED ] Task.Returns (0 ms)\n"
                                 "[  SKIPPED ] All/Stream.Closes/0, where GetParam() = 0 (0 ms)\n"
                                 "[  SKIPPED ] 2 tests, listed below:\n"}
        self.refuses("| a | | `Task.Returns` |", "no test Task.Returns ran and passed", logs=logs)
        for evidence in ("Stream.Closes", "Stream.*"):
            status, output = self.check([f"| a | | `{evidence}` |"], logs=logs)
            self.assertEqual(status, 0, output)
            self.assertIn(f"{evidence} was skipped, which tests/CMakeLists.txt allows", output)
        self.assertNotIn("skipped", self.check(["| a | | `Stream.Closes` |"], logs=LOGS)[1])


if __name__ == "__main__":
    unittest.main()
