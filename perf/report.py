"""Says what the arena has found: the tables for the terminal, and a summary of a report.json. Its
page is page.py's, and the chart of the README readme_chart.py's.

    perf/report.py [--short] REPORT.json
                                    says in a few lines what was seen, or in one line for each
                                    case; exits with 1 when a server failed, unless all that failed
                                    are on io_uring
    perf/report.py --chart REPORT.json CHART.svg
                                    draws the chart of the README, and leaves its figures beside it
                                    in CHART.json, from which it can be drawn again
"""

import json
import os
import pathlib
import sys
import textwrap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import readme_chart  # noqa: E402
import bars  # noqa: E402
from compare import table_lines  # noqa: E402
from harness import Misuse, run_main  # noqa: E402
from models import CPU, P99, RATE  # noqa: E402

VERDICTS = {"base": "the measure, 1", "more": "costs more", "less": "costs less",
            "same": "no difference seen", "unsettled": "too few rounds to say",
            "alone": "no measure beside it"}
VERDICTS_OF = {CPU: VERDICTS,
               P99: VERDICTS | {"more": "takes longer", "less": "is quicker"},
               RATE: VERDICTS | {"more": "answers more", "less": "answers fewer"}}
RATIOS = {CPU: "CPU ratio", P99: "p99 ratio", RATE: "messages/s ratio"}
HEADINGS = ["server", "CPU ratio", "CPU µs/message", "messages/s", "p50 / p99 µs",
            "busy % server / load", "verdict"]
FAIRNESS = "fairness, least / most"
FULL = 95  # per cent of a processor: beyond that the generator may be what is measured
FAILED = "FAILED"
CANNOT = "CANNOT"


# ---- what the tables of both say -----------------------------------------------------------------


def thousands(value):
    return f"{value / 1e3:.1f} k"


def pair(value, low, high, show):
    return show(value), f"{show(low)} to {show(high)}"


def spread_pair(found, show):
    if found is None:
        return "none", ""
    return pair(found["median"], found["min"], found["max"], show)


def headings_of(found):
    more = [FAIRNESS] if found["loops"] > 1 else []
    return [HEADINGS[0], RATIOS[found["measure"]], *HEADINGS[2:-1], *more, HEADINGS[-1]]


def verdict_words(row, found):
    return VERDICTS_OF[found["measure"]][row["verdict"]]


def busy_words(row):
    server = row["server_busy_percent"]
    load = row["generator_busy_percent"]
    return (f"{server:.0f} / {load:.0f}", "the generator is at its limit" if load > FULL else "")


def fairness_words(row):
    found = row["fairness"]
    return (f"{found['jain']:.3f}", f"{found['least_to_most']:.2f}") if found else ("none", "")


def cells(row, found):
    """[(median, spread)], one for each heading after the first."""
    ratio = ("none", "")
    if row["ratio"] is not None:
        low, high = row["interval"] or (None, None)
        ratio = (f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}" if low else "too few rounds")
    if row["verdict"] == "base":
        ratio = ("1", "")
    return [ratio, spread_pair(row["cpu_us_per_message"], "{:.2f}".format),
            spread_pair(row["messages_per_second"], thousands),
            (f"{row['p50_us']:.0f} / {row['p99_us']:.0f}", ""), busy_words(row),
            *([fairness_words(row)] if found["loops"] > 1 else []),
            (verdict_words(row, found), "")]


def without_figures(name, found):
    """(kind, sentence) of a model that has none; None for one that has."""
    if name in found["failures"]:
        return "failed", f"failed: {found['failures'][name]}"
    if name in found["refusals"]:
        return "refused", f"cannot: {found['refusals'][name]}"
    return None


def names_of(results):
    return [model["name"] for model in results["models"]]


def failed_contenders(results):
    """Those that failed in any load, in their order. One that cannot serve a load has not."""
    parts = [*results["results"], results["memory"]]
    return [name for name in names_of(results) if any(name in part["failures"] for part in parts)]


def rounds_of(results):
    plan = results["plan"]
    spins = ", with a generator that spins" if plan.get("poll") else ""
    return f"{plan['rounds']} rounds of {plan['seconds']:g} s{spins}"


# ---- the terminal --------------------------------------------------------------------------------


def text_without_figures(name, found, columns):
    """(row, sentence) of a model that has none."""
    kind, sentence = without_figures(name, found)
    word = FAILED if kind == "failed" else CANNOT
    return [name, word, *[""] * (columns - 2)], f"{name} {word}{sentence[sentence.index(':'):]}"


def text_of_load(found, names):
    rows = [headings_of(found)]
    said = []
    for name in names:
        if without_figures(name, found):
            row, sentence = text_without_figures(name, found, len(rows[0]))
            rows.append(row)
            said.append(sentence)
        elif name in found["rows"]:
            rows.append([name, *(f"{value} ({spread})" if spread else value
                                 for value, spread in cells(found["rows"][name], found))])
    return [f"\n{found['title']}: {found['story']}", *table_lines(rows), *said]


def text_of_memory(results):
    rows = [["server", "bytes for one more idle connection", "of the kernel, both ends"]]
    said = []
    for name in names_of(results):
        if without_figures(name, results["memory"]):
            row, sentence = text_without_figures(name, results["memory"], 3)
            rows.append(row)
            said.append(sentence)
        elif name in results["idle"]:
            found = results["idle"][name]
            kernel = results["idle_kernel"].get(name)
            rows.append([name, f"{found['median']:.0f} ({found['min']:.0f} to {found['max']:.0f})",
                         f"{kernel['median']:.0f}" if kernel else "none"])
    return ["\nIdle connections: memory of the server", *table_lines(rows), *said]


def text_of_ranking(results):
    ranking = results["ranking"]
    if ranking is None:
        return []
    rows = [["", "model", "ratio", "cause"]]
    for place, row in enumerate(ranking["rows"], 1):
        ratio = "none" if row["ratio"] is None else f"{row['ratio']:.2f}"
        rows.append([str(place) if row["ratio"] is not None else "", row["name"], ratio,
                     row["cause"]])
    return [f"\nThe models, ranked by {ranking['by'][0].lower() + ranking['by'][1:]}:",
            *table_lines(rows)]


def text_of_bars(results):
    lines = []
    for title, group in bars.grouped(results["bars"]):
        rows = [[f"{value} ({small})" if small else value for value, small in bars.cells(line)]
                for line in group]
        lines += [f"\n{title}: {bars.tally(group)}", *table_lines([bars.HEADINGS, *rows])]
    return lines


def text(results):
    machine = results["machine"]
    kind = "A quick look" if results["plan"]["quick"] else "Measured"
    lines = [f"{kind}, {rounds_of(results)} for each load and server; medians (lowest to highest), "
             "ratios with their 95 % interval.",
             f"{machine['processor']}, {machine['processors']} processors, Linux "
             f"{machine['kernel']}, {machine['compiler']} {machine['flags']}, commit "
             f"{machine['commit']}, load average {machine['load_average_before']:.1f} before"]
    lines += [f"not there: {name}: {why}" for name, why in machine.get("absent", {}).items()]
    for found in results["results"]:
        lines += text_of_load(found, names_of(results))
    lines += text_of_memory(results)
    lines += text_of_ranking(results)
    lines += text_of_bars(results)
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


def read(name):
    try:
        return json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"read {name}: {error}; run scripts/perf --quick") from None


def draw_chart(name, to):
    """`to` as SVG, and beside it the figures."""
    figures = readme_chart.figures_of(read(name))
    to = pathlib.Path(to)
    try:
        to.write_text(readme_chart.svg(figures), encoding="utf-8")
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
