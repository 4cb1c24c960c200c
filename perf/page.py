"""The arena's report as one HTML page that needs no other file: its styles and charts stand in it,
and it runs no script. Nothing is computed here but positions."""

import bars
import charts
from charts import DARK, LIGHT, chart, chart_rows, escaped, pick_ratio, pick_spread
from models import BASELINE, CPU, P99, RATE
from report import (FULL, cells, failed_contenders, headings_of, rounds_of, thousands,
                    verdict_words, without_figures)

# The lines of a curve, light and dark.
LINES = ["#c4622d #e08a55", "#2f6fb5 #5f9fe6", "#2d8a6e #4bb596", "#8a3fa0 #c88be0",
         "#a07800 #d9b64a", "#b3261e #ff8a80", "#4a4f57 #b9c0cb", "#0f7f8f #58c4d6",
         "#7a5236 #c79a78", "#c2187a #ff7fc0"]
PEER = " --peer: #8a3fa0;", " --peer: #c88be0;"
STYLE = """
:root { """ + LIGHT + PEER[0] + """ --wash: #f4f5f7; --good: #1f7a3d; }
@media (prefers-color-scheme: dark) { :root { """ + DARK + PEER[1] + """ --wash: #1e2127;
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
.peer { fill: var(--peer); background: var(--peer); }
svg .left { text-anchor: end; } svg .curve { fill: none; stroke-width: 1.8; }
""" + "".join(
    f"svg .c{i} {{ fill: {pair.split()[0]}; }} svg .curve.c{i} {{ stroke: {pair.split()[0]}; "
    f"fill: none; }}\n@media (prefers-color-scheme: dark) {{ svg .c{i} {{ fill: "
    f"{pair.split()[1]}; }} svg .curve.c{i} {{ stroke: {pair.split()[1]}; fill: none; }} }}\n"
    for i, pair in enumerate(LINES)) + """
i.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
  margin-right: .4rem; vertical-align: -1px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric:
  tabular-nums; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child,
  td.words, td.name, table.ranking th, table.bars th:nth-child(-n+3) { text-align: left; }
td:first-child, td.name { white-space: nowrap; }
td small { display: block; color: var(--soft); }
tr.more td.verdict { color: var(--bad); font-weight: 600; }
tr.less td.verdict { color: var(--good); font-weight: 600; }
tr.failed td { color: var(--bad); } tr.refused td.words { color: var(--soft); }
table.wide { display: block; overflow-x: auto; margin-top: 1rem; font-size: .68rem; }
table.wide th, table.wide td { padding: .2rem .18rem; } table.ranking td { text-align: left; }
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


def name_cell(name, family):
    return f'<td class="name"><span><i class="swatch {family}"></i>{escaped(name)}</span></td>'


def kind_of(verdict, found):
    """The class of a row: more messages per second are what less of the others is."""
    turned = {"more": "less", "less": "more"} if found["measure"] == RATE else {}
    return turned.get(verdict, verdict)


def table_row(model, found):
    name = model["name"]
    title = name_cell(name, model["family"])
    if said := without_figures(name, found):
        kind, sentence = said
        columns = len(headings_of(found)) - 1
        return (f'<tr class="{kind}">{title}<td class="words" colspan="{columns}">'
                f'{escaped(sentence)}</td></tr>')
    if name not in found["rows"]:
        return ""
    row = found["rows"][name]
    figures = "".join(table_cell(heading, value, spread,
                                 "verdict" if heading == "verdict" else "")
                      for heading, (value, spread) in zip(headings_of(found)[1:],
                                                          cells(row, found)))
    return f'<tr class="{kind_of(row["verdict"], found)}">{title}{figures}</tr>'


def table(headings, rows, kind=""):
    def shown(heading):  # names of loads may break behind their parts
        words = escaped(heading)
        return words.replace("x", "x<wbr>").replace("-", "-<wbr>") if kind == "wide" else words

    head = "".join(f"<th>{shown(heading)}</th>" for heading in headings)
    return (f'<table class="{kind}"><thead><tr>{head}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table>')


# ---- charts of results ---------------------------------------------------------------------------


def chart_of_threads(results):
    """One bar for each main load: threads, where a coroutine on epoll is 1."""
    beside = "coroutine, epoll"
    rows = []
    for found in filter(lambda load: load["is_main"], results["results"]):
        row = found["against_coroutines"].get(beside)
        if row is None:
            rows.append({"name": found["title"], "without": "failed"})
            continue
        value, low, high, said = pick_ratio(row)
        rows.append({"name": found["title"], "family": "threads", "value": value, "low": low,
                     "high": high, "words": said + " times"})
    return chart("CPU time per message of threads,", "where that of coroutines on epoll is 1: "
                 "median and 95 % interval", rows, 1)


MEASURES = {CPU: "CPU time per message", P99: "99th percentile", RATE: "messages per second"}


def charts_of_load(results, found):
    def rows(pick):
        return chart_rows(results, found, found["rows"], pick)

    base = found["baseline"]
    failed = f"({base} failed, so there are no ratios)"
    if all(row["ratio"] is not None for row in found["rows"].values()):
        better = "shorter" if found["measure"] in (CPU, P99) else "longer"
        first = chart(f"{MEASURES[found['measure']]}, {base} = 1,",
                      f"median and 95 % interval; {better} is better", rows(pick_ratio), 1)
    elif found["measure"] == P99:
        first = chart("99th percentile, µs,", f"median {failed}",
                      rows(lambda row: (row["p99_us"],) * 3 + (f"{row['p99_us']:.0f}",)))
    else:
        first = chart("CPU time per message, µs,", f"median and all rounds {failed}",
                      rows(pick_spread("cpu_us_per_message", "{:.1f}".format)))
    rate = chart("Messages per second,", "median, lowest and highest round; longer is better",
                 rows(pick_spread("messages_per_second", thousands)))
    return f'<div class="charts">{first}{rate}</div>'


# ---- the parts of the page -----------------------------------------------------------------------


def section_of_load(results, found):
    rows = [table_row(model, found) for model in results["models"]]
    return (f'<h2>{escaped(found["title"])}</h2><p>{escaped(found["story"])}</p>'
            f"{charts_of_load(results, found)}{table(headings_of(found), rows)}")


def ratio_words(row):
    if row["verdict"] == "base":
        return "1", ""
    if row["ratio"] is None:
        return "none", ""
    low, high = row["interval"] or (None, None)
    return f"{row['ratio']:.2f}", f"{low:.2f} to {high:.2f}" if low else "too few rounds"


def ranking_row(place, row, by):
    shown = place if row["ratio"] is not None else ""
    said = "no figure" if row["verdict"] == "none" else verdict_words(row, by)
    return (f'<tr class="{kind_of(row["verdict"], by)}"><td class="words">{shown}</td>'
            + name_cell(row["name"], row["family"])
            + table_cell("times raw epoll", *ratio_words(row))
            + table_cell("verdict", said, "", "verdict")
            + f'<td class="words">{escaped(row["cause"])}</td></tr>')


def matrix_cell(load, value):
    return table_cell(load, value if isinstance(value, str) else
                      "none" if value is None else f"{value:.2f}", "")


def section_of_ranking(results):
    ranking = results["ranking"]
    if ranking is None:
        return ""
    rows = [ranking_row(place, row, ranking) for place, row in enumerate(ranking["rows"], 1)]
    matrix = [f'<tr>{name_cell(row["name"], row["family"])}'
              + "".join(matrix_cell(*each) for each in zip(ranking["loads"], row["cells"]))
              + "</tr>" for row in ranking["rows"]]
    what = {CPU: "the CPU time that it takes per message", P99: "its 99th percentile"}.get(
        ranking["measure"], "its messages per second")
    why = "; behind it stands why" if ranking["measure"] == CPU else ""
    return (
        f"<h2>The models, ranked</h2><p>By {what} with {lowered(ranking['by'])}, the best first. "
        f"The figure is the median of its ratio to {BASELINE} in the same round, with the 95 % "
        f"interval{why}. Another load has another order: the second table has the ratios of all, "
        "under their names (connections x bytes). They are ratios of CPU time per message, but "
        "for the columns whose name says p99 or messages/s; <i>cannot</i> and <i>failed</i> are "
        "explained where the load is.</p>"
        + table(["", "model", "times raw epoll", "verdict", "cause"], rows, "ranking")
        + table(["model", *ranking["loads"]], matrix, "wide"))


def bar_row(line):
    kind = {"missed": "more", "met": "less"}.get(line["said"], line["said"])
    cells_of_line = "".join(
        f'<td class="words"><span>{escaped(value)}</span></td>' if heading in bars.HEADINGS[:3] else
        table_cell(heading, value, small, "verdict" if heading == "verdict" else "")
        for heading, (value, small) in zip(bars.HEADINGS, bars.cells(line)))
    return f'<tr class="{kind}">{cells_of_line}</tr>'


def section_of_bars(results):
    if not results["bars"]:
        return ""
    drawn = "".join(
        f"<h3>{escaped(title)}: {bars.tally(group)}</h3>"
        + table(bars.HEADINGS, map(bar_row, group), "bars")
        for title, group in bars.grouped(results["bars"]))
    return (
        "<h2>coro beside its bars</h2><p>Each figure is the median of the ratios of two servers in "
        "the same round, with its 95 % interval: of CPU time per message, but where the load says "
        f"otherwise. A bar is met if at least {bars.LEAST_PAIRS} pairs have a median of at most "
        f"the bar + {bars.TOLERANCE:g} and the lower end of the interval is at most the bar. It is "
        "missed if the whole interval is above it, or if so many pairs do not meet it. With fewer "
        f"pairs it is open. For messages per second it is the other way round.</p>{drawn}")


def lowered(title):
    return title[0].lower() + title[1:]


CURVES = [("Classic models", ["threads", "raw"]), ("coro beside raw loops", ["coroutine", "fiber"]),
          ("Peers beside raw epoll", ["peer"])]
BESIDE = {"coroutine": ["raw epoll", "raw io_uring"], "peer": ["raw epoll"]}


def section_of_curve(results):
    curve = results["curve"]
    drawn = ""
    for title, families in CURVES:
        lines = [line for line in curve["lines"] if line["family"] in families]
        beside = [line for line in curve["lines"] if line["name"] in BESIDE.get(families[0], [])]
        if lines:
            drawn += charts.curve_chart(title + ",", "CPU µs per message over the number of "
                                        "connections, medians, both axes logarithmic",
                                        curve["points"], beside + lines)
    if not drawn:
        return ""
    return ("<h2>From one connection to many</h2><p>All connections are busy: each sends 64 bytes, "
            "waits for them, and sends again. A line ends where its model does.</p>"
            f'<div class="charts">{drawn}</div>')


def memory_row(results, model):
    name = model["name"]
    if name not in results["idle"]:
        return ""
    kernel = results["idle_kernel"].get(name)
    return (f"<tr>{name_cell(name, model['family'])}"
            + table_cell("bytes", f"{results['idle'][name]['median']:.0f}", "")
            + table_cell("spread", "{min:.0f} to {max:.0f}".format(**results["idle"][name]), "")
            + table_cell("kernel, both ends", f"{kernel['median']:.0f}" if kernel else "none", "")
            + "</tr>")


def section_of_memory(results):
    before, more = results["plan"]["idle"]
    memory = results["memory"]
    drawn = chart_rows(results, memory, results["idle"], lambda found: (
        found["median"], found["min"], found["max"], f"{found['median']:.0f}"))
    without = "".join(f"<li>{escaped(name)} {words}: {escaped(sentence)}</li>"
                      for words, which in (("failed", "failures"), ("cannot", "refusals"))
                      for name, sentence in memory[which].items())
    return (
        "<h2>Idle connections</h2>"
        f"<p>The user memory that one more idle connection costs. Beside {before} connections that "
        f"have exchanged one message each, {more} more are opened, exchange one message and are "
        "idle; counted is the growth of the server's resident memory (<code>Rss</code> of "
        "<code>smaps_rollup</code>), divided by their number. What the kernel keeps is "
        "not in it: the sockets, which all have, and of each thread its kernel stack and its "
        "record. Where the table tells of the kernel's memory, it is that of both ends of the "
        "connection, and of whoever else ran.</p>"
        + chart("Bytes for one more idle connection,", f"median, lowest and highest of "
                f"{results['plan']['memory_samples']} fresh servers; shorter is better", drawn)
        + table(["server", "bytes", "spread", "kernel, both ends"],
                [memory_row(results, model) for model in results["models"]])
        + (f"<ul>{without}</ul>" if without else ""))


def what_was_measured(results):
    plan = results["plan"]
    quick = ""
    if plan["quick"]:
        quick = (f'<p class="note"><b>A quick look:</b> {rounds_of(results)} for each load and '
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
    if absent := results["machine"].get("absent"):
        quick += ('<p class="note"><b>Not there:</b> '
                  f'{escaped("; ".join(map(": ".join, absent.items())))}.</p>')
    return (
        "<h1>Echo servers, from a process per connection to coroutines and fibers</h1>"
        "<p>How much processor time does a server need for one message, how many messages does it "
        "answer, and what does an idle connection cost in memory? "
        f"{len(results['models'])} servers do the same: they send back what they receive. Some use "
        "<b>coro</b>, a C++20 coroutine library, on either of its pollers; the others are "
        f"written straight on the system, or with other libraries.</p>{quick}")


def models_list(results):
    return "<ul>" + "".join(
        f'<li><i class="swatch {model["family"]}"></i><b>{escaped(model["name"])}</b>: '
        f'{escaped(model["what"])} (<code>{escaped(model["command"])}</code>)</li>'
        for model in results["models"]) + "</ul>"


def how_it_was_measured(results):
    machine = results["machine"]
    same = machine["server_cpu"] == machine["load_cpu"]
    pinned = (f"all on processor {machine['server_cpu']}, the only one there is" if same else
              f"the servers on processor {machine['server_cpu']}, the load generator on processor "
              f"{machine['load_cpu']}")
    facts = [("processor", f"{machine['processor']}, {machine['processors']} of them"),
             ("kernel", f"Linux {machine['kernel']}"),
             ("compiler", f"{machine['compiler']} {machine['flags']}"),
             *[(name, version) for name, version in machine.get("versions", {}).items()],
             ("commit", machine["commit"]), ("date", machine["date"]),
             ("load average", f"{machine['load_average_before']:.2f} before, "
                              f"{machine['load_average_after']:.2f} after (this run included)"),
             ("rounds", f"{rounds_of(results)}, in {results['took_seconds']:.0f} s in all")]
    if results.get("ended"):
        facts.append(("not all", results["ended"]))
    return (
        "<h2>How it was measured</h2>"
        "<p>Each load has servers of its own, which run all the time of that load. In every round "
        "each server gets a short window, in an order that is drawn anew, once the one before it "
        f"sleeps (seed {results['plan']['seed']}). "
        "Only figures of the same round are divided by each other, because a shared machine "
        "changes its speed from one second to the next. One that computes when nothing happens is "
        "stopped outside of its windows. The ratio is the median "
        "over the rounds; its interval, from order statistics, holds the true median with at least "
        "95 %. Of as many intervals as stand here about one in twenty is expected to err. A server "
        "<i>costs more</i> or <i>costs less</i> than raw epoll when 1 lies outside of the "
        "interval, and no row is left out because it loses. The load generator checks every byte "
        "that comes back.</p>"
        f"<p>Processor time is that of the server: all its threads and processes, user and "
        f"system. Pinned: {pinned}, but where a load says otherwise. The time that the kernel "
        "spends outside of the process is compared nowhere. A generator above "
        f"{FULL} % of a processor is marked: it may be what bounds the messages per second.</p>"
        + table(["what", "where"], [
            f'<tr><td>{name}</td><td class="words"><span>{escaped(value)}</span></td></tr>'
            for name, value in facts])
        + "<h2>Measure it again</h2><pre>scripts/perf --quick     # about three minutes\n"
        "scripts/perf             # about ten minutes; with nothing else running\n"
        "scripts/perf --full --peers    # all loads, and other libraries and languages: 75 minutes"
        "</pre>"
        "<p>They build what they need, and write this page and <code>report.json</code>, which "
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
        + section_of_ranking(results)
        + section_of_bars(results)
        + section_of_curve(results)
        + "<h2>The servers</h2>" + models_list(results)
        + "".join(section_of_load(results, found) for found in results["results"])
        + section_of_memory(results)
        + how_it_was_measured(results)
        + "</body></html>\n")


