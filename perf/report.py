"""Draws the results of against_threads.py: the tables for the terminal, one HTML page that needs no
other file (its styles and charts stand in it, and it runs no script), and the chart of the README.

Nothing is computed here but positions: medians, intervals and sentences come with the results.

    perf/report.py [--short] REPORT.json
                                    says in a few lines what was seen, or in one line for each
                                    case; exits with 1 when a server failed, unless all that failed
                                    are on io_uring
    perf/report.py --chart REPORT.json CHART.svg
                                    draws the chart of the README, and leaves its figures beside it
                                    in CHART.json, from which it can be drawn again
"""

import html as markup
import json
import math
import os
import pathlib
import sys
import textwrap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare import table_lines  # noqa: E402
from harness import Misuse, run_main  # noqa: E402

VERDICTS = {"base": "the measure, 1", "more": "costs more", "less": "costs less",
            "same": "no difference seen", "unsettled": "too few rounds to say",
            "alone": "raw epoll failed"}
HEADINGS = ["server", "CPU ratio", "CPU µs/message", "messages/s", "p50 / p99 µs",
            "verdict"]
FAILED = "FAILED"


# ---- what the tables of both say -----------------------------------------------------------------


def thousands(value):
    return f"{value / 1e3:.1f} k"


def pair(value, low, high, show):
    return show(value), f"{show(low)} to {show(high)}"


def spread_pair(found, show):
    return pair(found["median"], found["min"], found["max"], show)


def cells(row):
    """[(median, spread)], one for each heading after the first."""
    ratio = ("none", "")
    if row["ratio"] is not None:
        low, high = row["interval"] or (None, None)
        ratio = (f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}" if low else "too few rounds")
    if row["verdict"] == "base":
        ratio = ("1", "")
    return [ratio, spread_pair(row["cpu_us_per_message"], "{:.2f}".format),
            spread_pair(row["messages_per_second"], thousands),
            (f"{row['p50_us']:.0f} / {row['p99_us']:.0f}", ""), (VERDICTS[row["verdict"]], "")]


def names_of(results):
    return [name for name, *_ in results["contenders"]]


def failed_contenders(results):
    """Those that failed in any case, in their order."""
    parts = [*results["results"], results["memory"]]
    return [name for name in names_of(results) if any(name in part["failures"] for part in parts)]


def rounds_of(results):
    plan = results["plan"]
    return f"{plan['rounds']} rounds of {plan['seconds']:g} s"


# ---- the terminal --------------------------------------------------------------------------------


def text_of_case(found, names):
    rows = [HEADINGS]
    failed = []
    for name in names:
        if name in found["failures"]:
            rows.append([name, FAILED, "", "", "", ""])
            failed.append(f"{name} FAILED: {found['failures'][name]}")
        elif name in found["rows"]:
            rows.append([name, *(f"{value} ({spread})" if spread else value
                                 for value, spread in cells(found["rows"][name]))])
    return [f"\n{found['title']}: {found['story']}", *table_lines(rows), *failed]


def text_of_memory(results):
    rows = [["server", "bytes for one more idle connection"]]
    failed = []
    for name in names_of(results):
        if name in results["memory"]["failures"]:
            rows.append([name, FAILED])
            failed.append(f"{name} FAILED: {results['memory']['failures'][name]}")
        elif name in results["idle"]:
            found = results["idle"][name]
            rows.append([name, f"{found['median']:.0f} ({found['min']:.0f} to {found['max']:.0f})"])
    return ["\nIdle connections: user memory of the server", *table_lines(rows), *failed]


def text(results):
    machine = results["machine"]
    kind = "A quick look" if results["plan"]["quick"] else "Measured"
    lines = [f"{kind}, {rounds_of(results)} for each case and server; medians (lowest to highest), "
             "ratios with their 95 % interval.",
             f"{machine['processor']}, {machine['processors']} processors, Linux "
             f"{machine['kernel']}, {machine['compiler']} {machine['flags']}, commit "
             f"{machine['commit']}, load average {machine['load_average_before']:.1f} before"]
    for found in results["results"]:
        lines += text_of_case(found, names_of(results))
    lines += text_of_memory(results)
    return "\n".join(lines)


def summary(results):
    """A few lines for each thing that was seen."""
    said = [f"{each['head']}: {each['rest']}" for each in results["sentences"]]
    if failed := failed_contenders(results):
        said.append(f"FAILED: {'; '.join(failed)}. The report says why." + (
            " io_uring is often refused in containers; coro then runs on epoll, as it did here."
            if only_io_uring(failed) else ""))
    if results["plan"]["quick"]:
        said.append("This was a quick look, which other programs may have disturbed; scripts/perf "
                    "measures more.")
    return "\n".join(textwrap.fill(each, 98, initial_indent="  - ", subsequent_indent="    ")
                     for each in said)


def short(results):
    """One line for each thing that was seen."""
    said = list(results["short"])
    if failed := failed_contenders(results):
        said.append(f"FAILED: {'; '.join(failed)}" + (
            " (often refused in containers)" if only_io_uring(failed) else ""))
    return "\n".join(f"  - {each}." for each in said)


def only_io_uring(names):
    return all("io_uring" in name for name in names)


# ---- what both kinds of charts share -------------------------------------------------------------
LIGHT = ("--paper: #fff; --ink: #1c1f24; --soft: #5c636e; --rule: #dfe2e7;\n"
         "  --threads: #c4622d; --raw: #858b95; --coroutine: #2f6fb5; --fiber: #2d8a6e; "
         "--bad: #b3261e;")
DARK = ("--paper: #15171b; --ink: #e6e8ec; --soft: #a0a7b3; --rule: #343941;\n"
        "  --threads: #e08a55; --raw: #8d95a1; --coroutine: #5f9fe6; --fiber: #4bb596; "
        "--bad: #ff8a80;")


def escaped(words):
    return markup.escape(str(words))


def words(kind, x, y, said):
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escaped(said)}</text>'


def bar(family, left, middle, height, ends):
    """The bar of one contender and its whisker; `ends` are where its median, its lowest and its
    highest value lie."""
    x, low, high = ends
    tick = height // 4
    return (
        f'<rect class="{family}" x="{left}" y="{middle - height / 2:g}" '
        f'width="{max(x - left, 1):.1f}" height="{height}" rx="2"/>'
        f'<path class="whisker" d="M{low:.1f} {middle - tick:g}v{2 * tick}'
        f'M{high:.1f} {middle - tick:g}v{2 * tick}M{low:.1f} {middle:g}H{high:.1f}"/>')


# ---- the charts of the page ----------------------------------------------------------------------
CHART_WIDTH = 480
LABELS = 138  # where they end
PLOT = (148, 392)  # from zero to the largest tick
ROW = 26
BAR = 14
TOP = 6


def nice_step(largest):
    """A step of 1, 2 or 5 times a power of ten that cuts 0 ... largest into 2 to 5 pieces."""
    rough = largest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def label_of_tick(value):
    if value >= 1000:
        return f"{value / 1000:g} k"
    return f"{value:g}"


def row_of_chart(row, index, place):
    """One contender: its name, its bar, its figure in words."""
    middle = TOP + index * ROW + ROW / 2
    name = words("label", LABELS, middle + 4, row["name"])
    if row.get("failed"):
        return name + words("failed", PLOT[0], middle + 4, "failed")
    ends = [place(row[each]) for each in ("value", "low", "high")]
    return (name + bar(row["family"], PLOT[0], middle, BAR, ends)
            + words("figure", CHART_WIDTH, middle + 4, row["words"]))


def chart(title, note, rows, line_at=None):
    """Horizontal bars with whiskers; `line_at` draws a line through all of them."""
    there = [row for row in rows if not row.get("failed")]
    if not there:
        return ""
    largest = max([row["high"] for row in there] + ([line_at] if line_at else []))
    step = nice_step(largest)
    ticks = [step * i for i in range(math.ceil(largest / step - 1e-9) + 1)]

    def place(value):
        return PLOT[0] + (PLOT[1] - PLOT[0]) * value / ticks[-1]

    bottom = TOP + ROW * len(rows)
    grid = "".join(
        f'<path class="grid" d="M{place(tick):.1f} {TOP}V{bottom}"/>'
        + words("tick", place(tick), bottom + 15, label_of_tick(round(tick, 9))) for tick in ticks)
    bars = "".join(row_of_chart(row, index, place) for index, row in enumerate(rows))
    line = f'<path class="line" d="M{place(line_at):.1f} {TOP}V{bottom}"/>' if line_at else ""
    return (f'<figure><figcaption><b>{escaped(title)}</b> {escaped(note)}</figcaption>'
            f'<svg viewBox="0 0 {CHART_WIDTH} {bottom + 20}" role="img" '
            f'aria-label="{escaped(title)}">{grid}{bars}{line}</svg></figure>')


def chart_rows(results, failures, rows, pick):
    """One row for each contender; `pick` gives value, low, high and words of a result."""
    drawn = []
    for name, family, *_ in results["contenders"]:
        if name in failures:
            drawn.append({"name": name, "failed": True})
        elif name in rows:
            value, low, high, words = pick(rows[name])
            drawn.append({"name": name, "family": family, "value": value, "low": low,
                          "high": high, "words": words})
    return drawn


def pick_ratio(row):
    low, high = row["interval"] or (row["ratio"], row["ratio"])
    return row["ratio"], low, high, f"{row['ratio']:.2f}"


def pick_spread(key, words):
    return lambda row: (row[key]["median"], row[key]["min"], row[key]["max"],
                        words(row[key]["median"]))


def chart_of_threads(results):
    """One bar for each case: threads, where a coroutine on epoll is 1."""
    beside = "coroutine, epoll"
    rows = []
    for found in results["results"]:
        row = found["against_coroutines"].get(beside)
        if row is None:
            rows.append({"name": found["title"], "failed": True})
            continue
        value, low, high, words = pick_ratio(row)
        rows.append({"name": found["title"], "family": "threads", "value": value, "low": low,
                     "high": high, "words": words + " times"})
    return chart("CPU time per message of threads,", "where that of coroutines on epoll is 1: "
                 "median and 95 % interval", rows, 1)


def charts_of_case(results, found):
    def rows(pick):
        return chart_rows(results, found["failures"], found["rows"], pick)

    if any(row["ratio"] is None for row in found["rows"].values()):
        cpu = chart("CPU time per message, µs,",
                    "median and all rounds (raw epoll failed, so there are no ratios)",
                    rows(pick_spread("cpu_us_per_message", "{:.1f}".format)))
    else:
        cpu = chart("CPU time per message, raw epoll = 1,", "median and 95 % interval; shorter is "
                    "better", rows(pick_ratio), 1)
    rate = chart("Messages per second,", "median, lowest and highest round; longer is better",
                 rows(pick_spread("messages_per_second", thousands)))
    return f'<div class="charts">{cpu}{rate}</div>'


# ---- the chart of the README ---------------------------------------------------------------------
# CPU time per message of every server at 1, 64 and 1000 connections, as an SVG that needs no other
# file and brings its own paper, light or dark.
CASES = ["1 connection", "64 connections", "1000 connections"]
MARKS = {"more": " ▲", "less": " ▼"}
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
                     "rows": [row_of(found, name, family)
                              for name, family, *_ in results["contenders"]]}
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


# ---- the page ------------------------------------------------------------------------------------
STYLE = """
:root { """ + LIGHT + """ --wash: #f4f5f7; --good: #1f7a3d; }
@media (prefers-color-scheme: dark) { :root { """ + DARK + """ --wash: #1e2127;
  --good: #7bd495; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; padding-top: .8rem; border-top: 1px solid
  var(--rule); }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
ul { padding-left: 1.2rem; max-width: 46rem; } li { margin: .35rem 0; }
.soft, figcaption { color: var(--soft); font-size: .85rem; }
figcaption b { color: var(--ink); }
.note { background: var(--wash); border-left: 4px solid var(--threads); padding: .5rem .8rem;
  max-width: 46rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr));
  gap: .5rem 1.5rem; margin: .6rem 0; }
figure { margin: 0; } svg { width: 100%; max-width: 480px; height: auto; display: block; }
svg text { font-size: 13px; fill: var(--ink); } svg .label, svg .figure { text-anchor: end; }
svg .tick { text-anchor: middle; fill: var(--soft); font-size: 11px; }
svg .failed { fill: var(--bad); font-weight: bold; }
svg .grid { stroke: var(--rule); } svg .line { stroke: var(--ink); stroke-dasharray: 3 3; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
.threads { fill: var(--threads); background: var(--threads); }
.raw { fill: var(--raw); background: var(--raw); }
.coroutine { fill: var(--coroutine); background: var(--coroutine); }
.fiber { fill: var(--fiber); background: var(--fiber); }
i.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
  margin-right: .4rem; vertical-align: -1px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric:
  tabular-nums; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child,
  td.words { text-align: left; } td:first-child { white-space: nowrap; }
td small { display: block; color: var(--soft); }
tr.more td.verdict { color: var(--bad); font-weight: 600; }
tr.less td.verdict { color: var(--good); font-weight: 600; }
tr.failed td { color: var(--bad); }
code, pre { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; background: var(--wash);
  border-radius: 3px; } code { padding: .05rem .25rem; }
pre { padding: .6rem .8rem; overflow-x: auto; }
@media (max-width: 40rem) { thead { display: none; } tr { display: block; padding: .4rem 0;
  border-bottom: 1px solid var(--rule); } td { display: flex; justify-content: space-between;
  gap: 1rem; border: 0; padding: .1rem 0; } td:first-child { font-weight: 600; }
  td[data-is]::before { content: attr(data-is); color: var(--soft); } td small { display: inline;
  margin-left: .5rem; } svg text { font-size: 14px; } }
"""


def table_cell(heading, value, spread, kind=""):
    small = f" <small>{escaped(spread)}</small>" if spread else ""
    return (f'<td class="{kind}" data-is="{escaped(heading)}"><span>{escaped(value)}{small}'
            "</span></td>")


def table_row(name, family, found):
    title = f'<td><span><i class="swatch {family}"></i>{escaped(name)}</span></td>'
    if name in found["failures"]:
        return (f'<tr class="failed">{title}<td class="words" colspan="5">failed: '
                f'{escaped(found["failures"][name])}</td></tr>')
    if name not in found["rows"]:
        return ""
    row = found["rows"][name]
    figures = "".join(table_cell(heading, value, spread,
                                 "verdict" if heading == "verdict" else "")
                      for heading, (value, spread) in zip(HEADINGS[1:], cells(row)))
    return f'<tr class="{row["verdict"]}">{title}{figures}</tr>'


def table(headings, rows):
    head = "".join(f"<th>{escaped(heading)}</th>" for heading in headings)
    return f'<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def section_of_case(results, found):
    rows = [table_row(name, family, found) for name, family, *_ in results["contenders"]]
    return (f'<h2>{escaped(found["title"])}</h2><p>{escaped(found["story"])}</p>'
            f"{charts_of_case(results, found)}{table(HEADINGS, rows)}")


def section_of_memory(results):
    before, more = results["plan"]["idle"]
    failures = results["memory"]["failures"]
    drawn = chart_rows(results, failures, results["idle"], lambda found: (
        found["median"], found["min"], found["max"], f"{found['median']:.0f}"))
    failed = "".join(f'<li>{escaped(name)} failed: {escaped(sentence)}</li>'
                     for name, sentence in failures.items())
    return (
        "<h2>Idle connections</h2>"
        f"<p>The user memory that one more idle connection costs. Beside {before} connections that "
        f"have exchanged one message each, {more} more are opened, exchange one message and are "
        "idle; counted is the growth of the server's resident memory (<code>Rss</code> of "
        "<code>smaps_rollup</code>), divided by their number. What the kernel keeps is "
        "not counted: the sockets, which all have, and of each thread its kernel stack and its "
        "record.</p>"
        + chart("Bytes for one more idle connection,", f"median, lowest and highest of "
                f"{results['plan']['memory_samples']} fresh servers; shorter is better", drawn)
        + table(["server", "bytes", "spread"], [
            f'<tr><td><span><i class="swatch {family}"></i>{escaped(name)}</span></td>'
            + table_cell("bytes", f"{results['idle'][name]['median']:.0f}", "")
            + table_cell("spread", "{min:.0f} to {max:.0f}".format(**results["idle"][name]), "")
            + "</tr>" for name, family, *_ in results["contenders"] if name in results["idle"]])
        + (f"<ul>{failed}</ul>" if failed else ""))


def what_was_measured(results):
    plan = results["plan"]
    quick = ""
    if plan["quick"]:
        quick = (f'<p class="note"><b>A quick look:</b> {rounds_of(results)} for each case and '
                 "server. It shows what differs much. <code>scripts/perf</code> without "
                 "<code>--quick</code> takes 15 rounds of 0.5 s, and its intervals are narrower."
                 "</p>")
    busy = max(results["machine"]["load_average_before"], 0)
    if busy > 0.5:
        quick += (f'<p class="note">The load average was {busy:.1f} before the first round, from '
                  "the build or from other programs. The ratios allow for what else runs, for the "
                  "rounds are interleaved; the absolute figures do not.</p>")
    failed = failed_contenders(results)
    if failed:
        quick += (f'<p class="note"><b>Failed:</b> {escaped("; ".join(failed))}. The tables below '
                  "say why, in the rows of these servers.</p>")
    return (
        "<h1>An echo server in threads, on raw epoll and io_uring, in coroutines and in fibers</h1>"
        "<p>How much processor time does a server need for one message, how many messages does it "
        "answer, and what does an idle connection cost in memory? Seven servers do the same: they "
        "send back what they receive. Three are written straight on the system; four use "
        f"<b>coro</b>, a C++20 coroutine library, on either of its pollers.</p>{quick}")


def contenders_list(results):
    return "<ul>" + "".join(
        f'<li><i class="swatch {family}"></i><b>{escaped(name)}</b>: {escaped(what)} '
        f"(<code>{escaped(command)}</code>)</li>"
        for name, family, command, what in results["contenders"]) + "</ul>"


def how_it_was_measured(results):
    machine = results["machine"]
    same = machine["server_cpu"] == machine["load_cpu"]
    pinned = (f"all on processor {machine['server_cpu']}, the only one there is" if same else
              f"the servers on processor {machine['server_cpu']}, the load generator on processor "
              f"{machine['load_cpu']}")
    facts = [("processor", f"{machine['processor']}, {machine['processors']} of them"),
             ("kernel", f"Linux {machine['kernel']}"),
             ("compiler", f"{machine['compiler']} {machine['flags']}"),
             ("commit", machine["commit"]), ("date", machine["date"]),
             ("load average", f"{machine['load_average_before']:.2f} before, "
                              f"{machine['load_average_after']:.2f} after (this run included)"),
             ("rounds", f"{rounds_of(results)}, in {results['took_seconds']:.0f} s in all")]
    return (
        "<h2>How it was measured</h2>"
        "<p>All servers run all the time, and in every round each gets a short window of load, in "
        "an order that rotates; only figures of the same round are divided by each other, because "
        "a shared machine changes its speed from one second to the next. The ratio is the median "
        "over the rounds; its interval, from order statistics, holds the true median with at least "
        "95 %. Of as many intervals as stand here about one in twenty is expected to err. A server "
        "<i>costs more</i> or <i>costs less</i> than raw epoll when 1 lies outside of the "
        "interval, and no row is left out because it loses. The load generator checks every byte "
        "that comes back.</p>"
        f"<p>Processor time is that of the server's process: all its threads, user and "
        f"system. Pinned: {pinned}. Threads could spread over more processors without being told, "
        "and coro with several loops; neither is compared here, nor is the time that the kernel "
        "spends outside of the process.</p>"
        + table(["what", "where"], [
            f'<tr><td>{name}</td><td class="words"><span>{escaped(value)}</span></td></tr>'
            for name, value in facts])
        + "<h2>Measure it again</h2><pre>scripts/perf --quick     # about a minute and a half\n"
        "scripts/perf             # about seven minutes; with nothing else running</pre>"
        "<p>Both build what they need, and write this page and <code>report.json</code>, which "
        "holds every sample, to <code>build/perf</code>. <code>docs/performance.md</code> has the "
        "method in full, and the figures of a longer run.</p>")


def html(results):
    seen = "".join(f'<li><b>{escaped(each["head"])}:</b> {escaped(each["rest"])}</li>'
                   for each in results["sentences"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>coro: servers in threads, loops, coroutines and fibers</title>"
        f"<style>{STYLE}</style></head><body>"
        + what_was_measured(results)
        + f"<h2>What was seen: threads beside coroutines</h2>{chart_of_threads(results)}"
        + f"<ul>{seen}</ul>"
        + "<h2>The servers</h2>" + contenders_list(results)
        + "".join(section_of_case(results, found) for found in results["results"])
        + section_of_memory(results)
        + how_it_was_measured(results)
        + "</body></html>\n")


def read(name):
    try:
        return json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"read {name}: {error}; run scripts/perf --quick") from None


def draw_chart(name, to):
    """`to` as SVG, and beside it the figures."""
    figures = figures_of(read(name))
    to = pathlib.Path(to)
    try:
        to.write_text(svg(figures), encoding="utf-8")
        to.with_suffix(".json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n",
                                           encoding="utf-8")
    except OSError as error:
        raise Misuse(f"write {to}: {error}; name a file in a folder that is there") from None
    return 0


def main():
    given = sys.argv[1:]
    if len(given) == 3 and given[0] == "--chart":
        return draw_chart(*given[1:])
    brief = "--short" in given
    given = [word for word in given if word != "--short"]
    if len(given) != 1 or given[0].startswith("-"):
        raise Misuse("read the command line: give a report.json, or --chart, a report.json and the "
                     "SVG to write")
    results = read(given[0])
    print(short(results) if brief else summary(results))
    return 0 if only_io_uring(failed_contenders(results)) else 1


if __name__ == "__main__":
    run_main("report.py", main)
