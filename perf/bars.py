"""The bars of the arena: what coro is held to, beside the raw loop on the same poller, beside its
own other poller, and beside the peers. Nothing here measures anything.

Both figures of a pair are of the same round. A bar is met if the median of the ratios is at most
the bar + 0.01 and the lower end of their 95 % interval is at most the bar, over at least 15 pairs.
It is missed if the whole interval is above it, or if 15 pairs do not meet it. Else it is open. For
messages per second more is better, and all of this is turned round.
"""

import compare
from models import BASELINE, COROUTINES, CPU, RATE

LEAST_PAIRS = 15
TOLERANCE = 0.01
FIBERS = ["fiber, epoll", "fiber, io_uring"]
RAW = {"epoll": BASELINE, "io_uring": "raw io_uring"}
POLLERS_BAR = 1.03  # io_uring beside epoll
PEERS_BAR = 1.0
GROUPS = {"raw": "Beside the raw loop on the same poller",
          "poller": "io_uring beside epoll",
          "peer": "The better poller beside each peer"}
WORDS = {"met": "met", "missed": "MISSED", "open": "open", "none": "no bar"}


def judge(ratio, interval, pairs, bar, more_is_better=False):
    """met, missed, open, or none where there is no bar."""
    if not bar:
        return "none"
    if interval is None:
        return "open"
    sign = -1 if more_is_better else 1
    median, edge = sign * ratio, sign * bar
    best = min(sign * end for end in interval)
    if best > edge:
        return "missed"
    if pairs < LEAST_PAIRS:
        return "open"
    return "met" if median <= edge + TOLERANCE else "missed"


def pair(group, load, name, beside, bar):
    """One line: `name` beside another in the same rounds; None where one of them has no figures."""
    runs = load["runs"]
    if not runs.get(name) or not runs.get(beside):
        return None
    case = {"name": load["name"], "measure": load["measure"]}
    rows = compare.summarize(case, {name: runs[name], beside: runs[beside]}, beside)["rows"]
    row = next(each for each in rows if each["server"] == name)
    pairs = len(row["ratios"])
    return {"group": group, "load": load["name"], "measure": load["measure"], "name": name,
            "beside": beside, "ratio": row["ratio"], "interval": row["interval"], "pairs": pairs,
            "bar": bar, "said": judge(row["ratio"], row["interval"], pairs, bar,
                                      load["measure"] == RATE)}


def poller_of(name):
    return name.rpartition(", ")[2]


def better_poller(load):
    """The coroutine server that costs less here; None where there is neither."""
    there = [name for name in COROUTINES if load["rows"].get(name, {}).get("cpu_us_per_message")]
    return min(there, default=None,
               key=lambda name: load["rows"][name]["cpu_us_per_message"]["median"])


def pairs_of_load(load, peers):
    judged = load["measure"] in (CPU, RATE)
    if judged and load["loops"] == 1:
        for name in [*COROUTINES, *FIBERS]:
            beside = RAW[poller_of(name)] if load["is_pinned"] else BASELINE
            yield pair("raw", load, name, beside,
                       load["fiber_bar" if name in FIBERS else "bar"])
    if load["measure"] != RATE:
        for epoll, ring in (COROUTINES, FIBERS):
            yield pair("poller", load, ring, epoll, POLLERS_BAR)
    if load["measure"] == CPU and load["loops"] == 1 and (best := better_poller(load)):
        for peer in peers:
            yield pair("peer", load, best, peer, PEERS_BAR)


def lines_of(raw, loads):
    """Every comparison that there are figures for."""
    peers = [model["name"] for model in raw["models"] if model["family"] == "peer"]
    return [line for load in loads for line in pairs_of_load(load, peers) if line]


# ---- what the tables of both say -----------------------------------------------------------------

HEADINGS = ["load", "server", "beside", "ratio", "bar", "verdict"]
MEASURES = {CPU: "", RATE: ", messages/s"}


def cells(line):
    """The words of one line: (value, what stands small behind it)."""
    interval = "too few rounds"
    if line["interval"]:
        interval = "{:.3f} to {:.3f}".format(*line["interval"])
    at = "at least" if line["measure"] == RATE else "at most"
    return [(line["load"] + MEASURES.get(line["measure"], ", p99"), ""), (line["name"], ""),
            (line["beside"], ""),
            (f"{line['ratio']:.3f}", f"{interval}, {line['pairs']} pairs"),
            (f"{at} {line['bar']:g}" if line["bar"] else "none", ""), (WORDS[line["said"]], "")]


def tally(lines):
    """How many are met, missed and open."""
    count = {kind: sum(line["said"] == kind for line in lines)
             for kind in ("met", "missed", "open")}
    return ", ".join(f"{number} {kind}" for kind, number in count.items())


def grouped(lines):
    """[(title, its lines)] of the groups that have any."""
    found = [(title, [line for line in lines if line["group"] == group])
             for group, title in GROUPS.items()]
    return [each for each in found if each[1]]
