"""The chart of the README from the results of the arena, and the figures that are left beside it.
Nothing is computed here but positions."""

import math

from charts import DARK, LIGHT, bar, words
from models import MODELS

# ---- the chart of the README ---------------------------------------------------------------------
# CPU time per message of every server at 1, 64 and 1000 connections, as an SVG that needs no other
# file and brings its own paper, light or dark.
CASES = ["1 connection", "64 connections", "1000 connections"]
MARKS = {"more": " ▲", "less": " ▼"}
IN_README = [model.name for model in MODELS if model.in_readme]
FROM_MACHINE = ["processor", "processors", "kernel", "compiler", "flags", "commit", "date",
                "load_average_before"]


def figures_of(results):
    """The part of a report that is drawn; what has been cut out already stays as it is."""
    if "figures" in results:
        return results
    return {
        "machine": {key: results["machine"][key] for key in FROM_MACHINE},
        "rounds": results["plan"]["rounds"],
        "seconds": results["plan"]["seconds"],
        "figures": [{"title": found["title"],
                     "rows": [row_of(found, model["name"], model["family"])
                              for model in results["models"] if model["name"] in IN_README]}
                    for found in results["results"] if found["title"] in CASES],
    }


def row_of(found, name, family):
    row = found["rows"].get(name)
    if row is None or name in found["failures"]:
        return {"name": name, "family": family, "verdict": "failed"}
    cpu = row["cpu_us_per_message"]
    return {"name": name, "family": family, "verdict": row["verdict"],
            "median": round(cpu["median"], 2), "lowest": round(cpu["min"], 2),
            "highest": round(cpu["max"], 2),
            "ratio": row["ratio"] and round(row["ratio"], 3)}


WIDTH = 860
README_LABELS = 132  # where the names end
FIRST = 142  # where the first panel begins
PANEL = 240
SCALE = 128  # pixels from 0 to the longest line
HEAD = 74
README_ROW = 22
README_BAR = 12
README_STYLE = """
svg { """ + LIGHT + """ }
@media (prefers-color-scheme: dark) { svg { """ + DARK + """ } }
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
.title { font-size: 15px; font-weight: 600; } .panel { font-weight: 600; }
.soft, .tick { fill: var(--soft); font-size: 11px; } .tick { text-anchor: middle; }
.label, .figure { text-anchor: end; } .bad { fill: var(--bad); }
.paper { fill: var(--paper); } .grid { stroke: var(--rule); }
.whisker { stroke: var(--ink); fill: none; }
.threads { fill: var(--threads); } .raw { fill: var(--raw); }
.coroutine { fill: var(--coroutine); } .fiber { fill: var(--fiber); }
"""


def figure_of(row):
    if row["verdict"] == "base" or row["ratio"] is None:  # the latter where raw epoll failed
        return f"{row['median']:.2f}"
    return f"{row['median']:.2f} ({row['ratio']:.2f}{MARKS.get(row['verdict'], '')})"


def row_of_panel(row, left, y, place):
    middle = y + README_ROW / 2
    if row["verdict"] == "failed":
        return words("bad", left, middle + 4, "failed")
    ends = [place(row[each]) for each in ("median", "lowest", "highest")]
    return (bar(row["family"], left, middle, README_BAR, ends)
            + words("figure", left + PANEL - 8, middle + 4, figure_of(row)))


def panel(found, left, largest):
    def place(value):
        return left + SCALE * value / largest

    step = 10.0 ** math.floor(math.log10(largest))
    step = next(step * factor for factor in (0.2, 0.5, 1, 2) if largest / (step * factor) < 6)
    ticks = [step * i for i in range(int(largest / step) + 1)]

    rows = found["rows"]
    bottom = HEAD + README_ROW * len(rows)
    grid = "".join(f'<path class="grid" d="M{place(tick):.1f} {HEAD}V{bottom}"/>'
                   + words("tick", place(tick), bottom + 14, f"{tick:g}") for tick in ticks)
    bars = "".join(row_of_panel(row, left, HEAD + README_ROW * i, place)
                   for i, row in enumerate(rows))
    return words("panel", left, HEAD - 8, found["title"]) + grid + bars


def caption(drawn):
    """When, where and how, in one sentence on two lines."""
    machine = drawn["machine"]
    return [f"Measured {machine['date']} on {machine['processor']}, {machine['processors']} "
            f"processors, Linux {machine['kernel']}, commit {machine['commit']}, load average "
            f"{machine['load_average_before']:.1f} before:",
            f"{drawn['rounds']} interleaved rounds of {drawn['seconds']:g} s, echo of 64 bytes, "
            f"each server on one processor, {machine['compiler']} {machine['flags']}."]


def svg(drawn):
    largest = max((row["highest"] for found in drawn["figures"] for row in found["rows"]
                   if row["verdict"] != "failed"), default=1)
    names = [row["name"] for row in drawn["figures"][0]["rows"]]
    bottom = HEAD + README_ROW * len(names) + 20
    how_to_read = ("In brackets the ratio to raw epoll, median over the rounds; ▲ costs more, "
                   "▼ costs less (95 % interval). Thin lines: lowest to highest round.")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 48}" '
        f'width="{WIDTH}" height="{bottom + 48}" role="img" '
        'aria-label="CPU time of an echo server per message">'
        f"<style>{README_STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{bottom + 48}" rx="6"/>'
        + words("title", 12, 24, "CPU time of an echo server per message, µs; shorter is better")
        + words("soft", 12, 42, how_to_read)
        + "".join(words("label", README_LABELS, HEAD + README_ROW * i + README_ROW / 2 + 4, name)
                  for i, name in enumerate(names))
        + "".join(panel(found, FIRST + PANEL * i, largest)
                  for i, found in enumerate(drawn["figures"]))
        + "".join(words("soft", 12, bottom + 16 + 15 * i, line)
                  for i, line in enumerate(caption(drawn)))
        + "</svg>\n")


