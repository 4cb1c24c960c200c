"""From the samples of arena.py to its results: rows with ratios and verdicts, the sentences, the
ranking of the models and the curve. Nothing here measures anything."""

import statistics

import bars
import compare
from models import BASELINE, COROUTINES, CPU, P99, RANKED_BY, RATE, THREADS


def verdict(row, baseline):
    """What the interval of the ratio says: "base", "more", "less", "same" or "unsettled"; a row
    that has no ratio, because the measure failed, is "alone"."""
    if row["server"] == baseline:
        return "base"
    if row["interval"] is None:
        return "unsettled"
    low, high = row["interval"]
    return "more" if low > 1 else "less" if high < 1 else "same"


def compared(case, runs, baseline):
    """The rows of compare.py with a verdict each; {} when there is no baseline."""
    if not runs.get(baseline):
        return {}
    rows = compare.summarize(case, runs, baseline)["rows"]
    return {row["server"]: {**row, "verdict": verdict(row, baseline)} for row in rows}


def digest_load(found, load):
    case = {"name": load["name"], "measure": load["measure"]}
    runs = {name: samples for name, samples in found["runs"].items()
            if samples and name not in found["failures"] and name not in found["refusals"]}
    rows = {}
    for name in runs:  # each beside itself first: figures that need no baseline
        alone = compared(case, {name: runs[name]}, name)[name]
        rows[name] = {**alone, "ratio": None, "interval": None, "verdict": "alone"}
    rows.update(compared(case, runs, load["baseline"]))
    for name, row in rows.items():
        row["fairness"] = fairness_of(runs[name])
    against = {name: compared(case, runs, name)[THREADS] for name in COROUTINES
               if name in runs and THREADS in runs}
    return {**load, "rows": rows, "against_coroutines": against, "runs": runs,
            "failures": found["failures"], "refusals": found["refusals"]}


def fairness_of(samples):
    """Jain's index of the shares of the connections, the median of all rounds, and the smallest
    share beside the largest; None where the generator did not tell."""
    told = [sample["fairness"] for sample in samples if sample.get("fairness")]
    if not told:
        return None
    return {"jain": statistics.median(each["jain"] for each in told),
            "least_to_most": statistics.median(each["least"] / max(each["most"], 1)
                                               for each in told)}


def spreads(samples, without):
    return {name: compare.spread(found) for name, found in samples.items()
            if found and name not in without}


def digest(raw):
    """Adds what follows from the samples of `raw`; what report.py and page.py draw."""
    loads = [digest_load(found, load) for found, load in zip(raw["cells"], raw["loads"])]
    measured = raw["memory"]
    without = measured["failures"] | measured["refusals"]
    memory = spreads(measured["samples"], without)
    lines = bars.lines_of(raw, loads)
    for load in loads:
        del load["runs"]  # they stand in the cells
    has_threads = any(model["name"] == THREADS for model in raw["models"])
    main = [load for load in loads if load["is_main"] and has_threads]
    return {**raw, "baseline": BASELINE, "results": loads, "idle": memory,
            "idle_kernel": spreads(measured["kernel"], without),
            "ranking": ranking(raw, loads), "curve": curve(raw, loads), "bars": lines,
            "sentences": [*map(sentence_of_load, main),
                          *([sentence_of_memory(memory, raw)] if has_threads else []),
                          sentence_of_coro(raw, loads)],
            "short": [*map(short_of_load, main),
                      *([short_of_memory(memory)] if has_threads else []),
                      short_of_coro(raw, loads)]}


# ---- the ranking of the models, and the curve ----------------------------------------------------


# Behind the name of a load in whose column the ratios are not of CPU time.
MARKS = {P99: " (p99)", RATE: " (messages/s)"}


def ranking(raw, loads):
    """The models by what they cost at one load, cheapest first, with the cause that fits what was
    seen, and what they cost at the others; None when there is no load to rank by."""
    judged = [load for load in loads if load["baseline"] == BASELINE
              and any(row["ratio"] is not None for row in load["rows"].values())]
    if not judged:
        return None
    by = next((load for load in judged if load["name"] == RANKED_BY), judged[-1])
    rows = [ranked(model, by, judged) for model in raw["models"]]
    return {"by": by["title"], "measure": by["measure"],
            "loads": [load["name"] + MARKS.get(load["measure"], "") for load in judged],
            "rows": sorted(rows, key=lambda row: (row["ratio"] is None,
                                                  place_of(row["ratio"], by)))}


def place_of(ratio, by):
    """The cheapest, the quickest, or the one with the most messages comes first."""
    return -ratio if ratio is not None and by["measure"] == RATE else ratio


def ranked(model, by, judged):
    name = model["name"]
    row = by["rows"].get(name, {"ratio": None, "interval": None, "verdict": "none",
                                "cpu_us_per_message": None})
    return {"name": name, "family": model["family"], "what": model["what"],
            "ratio": row["ratio"], "interval": row["interval"], "verdict": row["verdict"],
            "cpu_us_per_message": row["cpu_us_per_message"], "cause": cause_of(model, by, row),
            "cells": [cell_of(name, load) for load in judged]}


def cause_of(model, by, row):
    """One sentence: why the model costs what was seen, or why there is nothing to see."""
    name = model["name"]
    if name in by["refusals"]:
        return "It cannot: " + by["refusals"][name] + "."
    if name in by["failures"]:
        return "It failed: " + by["failures"][name] + "."
    # The causes are those of CPU time, and not of how long a message takes.
    cause = model["causes"].get(row["verdict"]) if by["measure"] == CPU else None
    return cause[0].upper() + cause[1:] + "." if cause else ""


def cell_of(name, load):
    if name in load["refusals"]:
        return "cannot"
    if name in load["failures"]:
        return "failed"
    row = load["rows"].get(name)
    return None if row is None or row["ratio"] is None else row["ratio"]


def curve(raw, loads):
    """CPU per message over the number of connections: {points, lines}, the medians."""
    points = sorted((load for load in loads if load["is_curve"]),
                    key=lambda load: load["connections"])
    lines = []
    for model in raw["models"]:
        costs = [load["rows"].get(model["name"], {}).get("cpu_us_per_message") for load in points]
        lines.append({"name": model["name"], "family": model["family"],
                      "values": [cost and cost["median"] for cost in costs]})
    return {"points": [load["connections"] for load in points], "lines": lines}


# ---- what was seen, in sentences -----------------------------------------------------------------

# Why, for each outcome that there is a reason for; another outcome gets its figures only.
REASONS = {
    ("1x64", "win"): "a message needs only the receive and the send, and no call that waits for "
                     "events",
    ("1x64", "level"): "with one message under way both sleep and are woken once for each, and "
                       "that is most of the cost",
    ("64x64", "lose"): "each message wakes a thread of its own and switches to it, where one wait "
                       "of a loop hands out many messages",
    ("1000x64", "lose"): "each message wakes one of a thousand threads and switches to it, where "
                         "one wait of a loop hands out hundreds of messages",
    ("64x64-short", "lose"): "each connection begins with the making of a thread and ends with its "
                             "end, where a task is a piece of recycled memory",
    ("idle", "lose"): "a thread keeps pages of its stack and its own record, a task one frame of "
                      "some hundred bytes",
}
OUTCOMES = {"lose": "Threads lose", "win": "Threads win",
            "level": "Threads and coroutines are about level", "open": "Not settled",
            "mixed": "Mixed verdicts"}


def outcome_of(verdicts):
    """Of threads against all coroutine contenders: lose, win, level, mixed when these differ, or
    open: too few rounds."""
    if "unsettled" in verdicts:
        return "open"
    if len(set(verdicts)) > 1:
        return "mixed"
    return {"more": "lose", "less": "win", "same": "level"}[verdicts[0]]


def sentence(key, where, outcome, figures):
    reason = REASONS.get((key, outcome))
    return {"case": key, "outcome": outcome, "head": f"{OUTCOMES[outcome]} {where}",
            "rest": figures + (f"; {reason}." if reason else ".")}


def no_sentence(key, where):
    return {"case": key, "outcome": "failed", "head": f"Nothing can be said {where}",
            "rest": "threads, or both of the coroutine servers, have no figures."}


def spoken(name):
    return name.replace(",", "s on")  # coroutines on epoll


def shown_interval(row):
    if row["interval"] is None:
        return f"{row['ratio']:.3f} times"
    return f"{row['ratio']:.3f} times, {row['interval'][0]:.3f} to {row['interval'][1]:.3f}"


def sentence_of_load(found):
    key = found["name"]
    where = "with " + found["title"][0].lower() + found["title"][1:]
    against = found["against_coroutines"]
    if not against:
        return no_sentence(key, where)
    mine = found["rows"][THREADS]["cpu_us_per_message"]["median"]
    beside = " and ".join(
        f"{found['rows'][name]['cpu_us_per_message']['median']:.1f} for {spoken(name)} "
        f"({shown_interval(row)})" for name, row in against.items())
    return sentence(key, where, outcome_of([row["verdict"] for row in against.values()]),
                    f"{mine:.1f} µs of CPU per message beside {beside}")


def rows_of_coro(raw, cases):
    """[(case, name, row)], and how many of them have each verdict."""
    own = [model["name"] for model in raw["models"] if model["family"] in ("coroutine", "fiber")]
    rows = [(found, name, found["rows"][name]) for found in cases for name in own
            if name in found["rows"] and found["measure"] == CPU
            and found["baseline"] == BASELINE]
    return rows, {kind: sum(row["verdict"] == kind for _, _, row in rows)
                  for kind in ("more", "less", "same", "unsettled", "alone")}


def sentence_of_coro(raw, cases):
    """Which of coro's rows cost more than the measure under the main loads, and how all stand."""
    rows, count = rows_of_coro(raw, cases)
    further = sum(row["verdict"] == "more" for found, _, row in rows if not found["is_main"])
    more = "; ".join(f"{name} with {found['title'][0].lower() + found['title'][1:]} "
                     f"({shown_interval(row)})"
                     for found, name, row in rows
                     if row["verdict"] == "more" and found["is_main"])
    said = (f"of {len(rows)} rows {count['more']} cost more CPU per message, {count['less']} less, "
            f"and in {count['same']} no difference was seen")
    if open_rows := count["unsettled"] + count["alone"]:
        said += f"; {open_rows} are not settled"
    if further:
        said += f". Under the further loads {further} cost more, as their tables say"
    return {"case": "all", "outcome": "beside raw epoll", "head": "coro beside raw epoll",
            "rest": said + (f". More cost: {more}." if more else ".")}


def sentence_of_memory(memory, raw):
    where = "with idle connections"
    others = [name for name in COROUTINES if name in memory]
    if not others or THREADS not in memory:
        return no_sentence("idle", where)
    mine = memory[THREADS]
    verdicts = ["more" if mine["min"] > memory[name]["max"] else
                "less" if mine["max"] < memory[name]["min"] else "same" for name in others]
    if any(len(raw["memory"]["samples"][name]) < 2 for name in [THREADS, *others]):
        verdicts = ["unsettled"]
    beside = " and ".join(f"{memory[name]['median']:.0f} for {spoken(name)}"
                          for name in others)
    return sentence("idle", where, outcome_of(verdicts),
                    f"{mine['median']:.0f} bytes for one more beside {beside}")


# A line for each, without intervals, for whoever has seen nothing else yet.


def short_of_load(found):
    against = found["against_coroutines"]
    name = next(iter(against), None)  # on epoll, which is everywhere
    if name is None:
        return f"{found['title']}: nothing can be said, for servers failed"
    row = against[name]
    if row["verdict"] in ("more", "less"):
        times = f"{row['ratio']:.{1 if row['ratio'] > 1.1 else 2}f}"
        return (f"{found['title']}: a thread for each costs {times} times the CPU of a task for "
                "each")
    if row["verdict"] == "same":
        return (f"{found['title']}: no difference in CPU was seen between a thread and a task for "
                "each")
    return f"{found['title']}: too few rounds to say"


def short_of_memory(memory):
    name = next((each for each in COROUTINES if each in memory), None)
    if name is None or THREADS not in memory:
        return "Idle connections: nothing can be said, for there are no figures"
    mine, theirs = memory[THREADS]["median"], memory[name]["median"]
    return (f"Idle connections: one more takes {mine:.0f} bytes with a thread, {theirs:.0f} with a "
            "task")


def short_of_coro(raw, cases):
    rows, count = rows_of_coro(raw, cases)
    left = count["unsettled"] + count["alone"]
    return (f"coro beside raw epoll: of {len(rows)} rows {count['more']} cost more CPU, "
            f"{count['less']} less, in {count['same']} no difference was seen"
            + (f"; {left} are not settled" if left else ""))


