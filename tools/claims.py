#!/usr/bin/env python3
"""Checks that the evidence that docs/promises.md names exists, and with --ran that it ran.

    tools/claims.py [--root TREE] [--build BUILD_TREE] [--ran LOGS]...

A row of the table is `| promise | hazard | evidence |`. The hazard may be empty. No promise stands
there twice. The evidence is one or more of these in backquotes, each once in a row:

    `Suite.Name`            a GoogleTest below tests/ (`Suite.*` for all of a suite)
    `ctest NAME`            a ctest; with --build it must be registered there
    `scripts/x --flag`      a script of the tree; `scripts/test --stage NAME` also needs that stage

--ran LOGS (files ending in .log below a folder) demands that every GoogleTest named
was "OK", every ctest named "Passed", and every stage named left its log. One that was skipped where
tests/CMakeLists.txt allows it is told, and is no failure. Other commands are checked for existence
only.
"""
import argparse
import pathlib
import re
import subprocess
import sys

from allowed_skips import allowed_skips

TEST = re.compile(r"\b(?:TEST|TEST_F|TEST_P|TYPED_TEST|TYPED_TEST_P)\(\s*(\w+)\s*,\s*(\w+)\s*\)")
NAME = re.compile(r"(?:[\w/]+/)?(\w+)\.(\w+|\*)(?:/\w+)?")


def rows_of(text):
    """(line number, cells) of each row of the tables, without their headings."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if set(cells[0]) <= set("-: ") or cells[0].lower() == "promise":
            continue
        yield number, cells


def badly_written(cells, seen):
    """What is wrong with the form of a row; `seen` has the promises above it."""
    if len(cells) != 3:
        return ["a row has three cells: promise, hazard (may be empty), evidence"]
    evidence = re.findall(r"`([^`]+)`", cells[2])
    wrong = [f"{each} stands here twice" for each in sorted(set(evidence))
             if evidence.count(each) > 1]
    if not evidence:
        wrong.append("names no test and no command")
    if cells[0] in seen:
        wrong.append(f"this promise stands in line {seen[cells[0]]} already")
    return wrong


def gtests_below(root):
    found = set()
    for path in sorted((root / "tests").rglob("*.cpp")):
        found.update(TEST.findall(path.read_text(encoding="utf-8")))
    return found


def ctests_of(build):
    run = subprocess.run(
        ["ctest", "--test-dir", build, "-N"], capture_output=True, text=True, check=True
    )
    return set(re.findall(r"Test +#\d+: (\S+)", run.stdout))


def read_logs(folders, allowed):
    """(gtests that ended OK as (suite, name), ctests that passed, stems of the logs, gtests that
    were skipped where that is allowed)."""
    gtests, ctests, stems, skipped = set(), set(), set(), set()
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace")
            stems.add(path.stem)
            for name in re.findall(r"^\[       OK \] (\S+)", text, re.MULTILINE):
                if match := NAME.fullmatch(name.rstrip(",")):
                    gtests.add((match.group(1), match.group(2)))
            for name in re.findall(r"^\[  SKIPPED \] (\S+\.\S+)", text, re.MULTILINE):
                if (match := NAME.fullmatch(name.rstrip(","))) and name.rstrip(",") in allowed:
                    skipped.add((match.group(1), match.group(2)))
            ctests.update(re.findall(r"Test +#\d+: (\S+) \.* +Passed", text))
    return gtests, ctests, stems, skipped


class checker:
    def __init__(self, root, build, logs):
        self.root = root
        self.gtests = gtests_below(root)
        self.ctests = ctests_of(build) if build else None
        self.ran = read_logs(logs, allowed_skips(root)) if logs else None
        self.skipped = set()
        runner = root / "scripts" / "test"
        self.stages = (
            set(re.findall(r"^stage_(\w+)\(\)", runner.read_text(), re.MULTILINE))
            if runner.exists()
            else set()
        )

    def wrong(self, evidence):
        """What is wrong with this evidence, or None."""
        words = evidence.split()
        if words[0] == "ctest" and len(words) == 2:
            if self.ctests is not None and words[1] not in self.ctests:
                return f"there is no ctest {words[1]}"
            if self.ran and words[1] not in self.ran[1]:
                return f"the ctest {words[1]} did not run, or did not pass"
            return None
        match = NAME.fullmatch(evidence)
        if match and not (self.root / evidence).exists():
            return self.wrong_gtest(*match.groups())
        program = words[0].removeprefix("./")
        if not (self.root / program).is_file():
            return f"{evidence} is neither Suite.Name, nor `ctest NAME`, nor a script of the tree"
        if program == "scripts/test" and "--stage" in words:
            stage = words[-1]
            if stage not in self.stages:
                return f"scripts/test has no stage {stage}"
            if self.ran and stage not in self.ran[2]:
                return f"the stage {stage} did not run"
        return None

    def wrong_gtest(self, suite, name):
        def among(known):
            return any(each[0] == suite and name in ("*", each[1]) for each in known)

        if not among(self.gtests):
            return f"no test {suite}.{name} exists"
        if self.ran and not among(self.ran[0]):
            if not among(self.ran[3]):
                return f"no test {suite}.{name} ran and passed"
            self.skipped.add(f"{suite}.{name}")
        return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1]
    )
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--ran", action="append", default=[], metavar="LOGS")
    options = parser.parse_args()

    page = options.root / "docs" / "promises.md"
    if not page.exists():
        print("docs/promises.md is missing")
        return 1
    check = checker(options.root, options.build, options.ran)
    count = bad = 0
    seen = {}
    for number, cells in rows_of(page.read_text(encoding="utf-8")):
        count += 1
        problems = badly_written(cells, seen)
        evidence = re.findall(r"`([^`]+)`", cells[2]) if len(cells) == 3 else []
        problems += [wrong for each in evidence if (wrong := check.wrong(each))]
        seen.setdefault(cells[0], number)
        for problem in problems:
            bad += 1
            print(f"docs/promises.md:{number}: {cells[0]}: {problem}")
    for test in sorted(check.skipped):
        print(f"{test} was skipped, which tests/CMakeLists.txt allows: not seen on this machine")
    print(f"claims: {count} promises, {bad} without their evidence")
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
