#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""The chart of the README is what perf/report.py --chart draws from the figures beside it, those
are the figures of docs/performance.md, and no row is left out because it loses or failed."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "perf"))
sys.path.insert(0, str(ROOT / "tests/tools"))
import readme_chart  # noqa: E402
from readme_chart import IN_README as NAMES  # noqa: E402
from report_test import results  # noqa: E402

CHART = ROOT / "docs/images/cpu_per_message.svg"
FIGURES = json.loads(CHART.with_suffix(".json").read_text(encoding="utf-8"))


def draw(figures, to):
    return subprocess.run([sys.executable, ROOT / "perf/report.py", "--chart", figures, to],
                          capture_output=True, text=True, check=False)


def texts(svg, kind=None):
    return [each.text for each in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
            if kind in (None, each.get("class"))]


class of_the_readme(unittest.TestCase):
    def test_it_is_what_is_drawn_from_the_figures_beside_it(self):
        with tempfile.TemporaryDirectory() as folder:
            again = pathlib.Path(folder) / CHART.name
            run = draw(CHART.with_suffix(".json"), again)
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))
            for suffix in (".svg", ".json"):
                self.assertEqual(again.with_suffix(suffix).read_text(encoding="utf-8"),
                                 CHART.with_suffix(suffix).read_text(encoding="utf-8"))

    def test_its_figures_are_those_of_the_page(self):
        page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
        self.assertIn(FIGURES["machine"]["commit"], page)
        for i, found in enumerate(FIGURES["figures"]):
            self.assertEqual([row["name"] for row in found["rows"]], NAMES)
            for row in found["rows"]:
                cells = re.findall(rf"^\| {row['name']} \|(.*)\|$", page, re.MULTILINE)
                columns = [line.split("|")[i].strip() for line in cells]
                self.assertTrue(any(each.startswith(f"{row['median']:.2f} (") for each in columns),
                                f"{found['title']}, {row['name']}: {row['median']} is not there")

    def test_all_rows_are_drawn_with_their_figures(self):
        svg = CHART.read_text(encoding="utf-8")
        self.assertEqual(texts(svg, "label"), NAMES)
        self.assertEqual(texts(svg, "panel"), readme_chart.CASES)
        drawn = texts(svg, "figure")
        rows = [row for found in FIGURES["figures"] for row in found["rows"]]
        self.assertEqual(drawn, [readme_chart.figure_of(row) for row in rows])
        self.assertEqual(sum("▲" in each for each in drawn),
                         sum(row["verdict"] == "more" for row in rows))


class drawing(unittest.TestCase):
    def test_it_needs_no_other_file_and_has_a_paper_for_light_and_dark(self):
        svg = readme_chart.svg(readme_chart.figures_of(results()))
        self.assertNotRegex(svg, r"href|url\(|@import|<script|<image")
        self.assertIn("prefers-color-scheme: dark", svg)
        self.assertIn('class="paper"', svg)

    def test_when_where_and_how_is_said_and_escaped(self):
        svg = readme_chart.svg(readme_chart.figures_of(results()))
        said = " ".join(texts(svg, "soft"))
        for fact in ("2026-01-01", "A <Processor>", "Linux 6.1", "abc1234", "6 interleaved rounds",
                     "g++ 12 -O2"):
            self.assertIn(fact, said)

    def test_who_failed_keeps_a_row(self):
        found = readme_chart.figures_of(results(failures={"fiber, io_uring": "refused"}))
        self.assertEqual(texts(readme_chart.svg(found), "bad"), ["failed"])
        without = readme_chart.figures_of(results(failures={"raw epoll": "it ended"}))
        self.assertEqual(len(texts(readme_chart.svg(without), "figure")), 3 * len(NAMES) - 1)
        none = readme_chart.figures_of(results(failures=dict.fromkeys(NAMES, "no")))
        self.assertEqual(texts(readme_chart.svg(none), "bad"), ["failed"] * len(NAMES))

    def test_what_cannot_be_read_or_written_is_a_sentence(self):
        run = draw("/no/report.json", "/no/chart.svg")
        self.assertEqual(run.returncode, 2)
        self.assertIn("run scripts/perf --quick", run.stderr)
        run = draw(CHART.with_suffix(".json"), "/no/chart.svg")
        self.assertEqual(run.returncode, 2)
        self.assertIn("name a file in a folder that is there", run.stderr)
        run = subprocess.run([sys.executable, ROOT / "perf/report.py", "--chart"],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn("the SVG to write", run.stderr)


if __name__ == "__main__":
    unittest.main()
