"""The charts of the arena's page, as SVG that stands in the page: bars with whiskers, and the curve
over the number of connections. Nothing is computed here but positions."""

import html as markup
import math

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
    if "without" in row:
        return name + words("failed", PLOT[0], middle + 4, row["without"])
    ends = [place(row[each]) for each in ("value", "low", "high")]
    return (name + bar(row["family"], PLOT[0], middle, BAR, ends)
            + words("figure", CHART_WIDTH, middle + 4, row["words"]))


def chart(title, note, rows, line_at=None):
    """Horizontal bars with whiskers; `line_at` draws a line through all of them."""
    there = [row for row in rows if "without" not in row]
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


def chart_rows(results, found, rows, pick):
    """One row for each model; `pick` gives value, low, high and words of a result."""
    drawn = []
    for model in results["models"]:
        name = model["name"]
        if name in found["failures"]:
            drawn.append({"name": name, "without": "failed"})
        elif name in found["refusals"]:
            drawn.append({"name": name, "without": "cannot"})
        elif name in rows:
            value, low, high, said = pick(rows[name])
            drawn.append({"name": name, "family": model["family"], "value": value, "low": low,
                          "high": high, "words": said})
    return drawn


def pick_ratio(row):
    low, high = row["interval"] or (row["ratio"], row["ratio"])
    return row["ratio"], low, high, f"{row['ratio']:.2f}"


def pick_spread(key, say):
    return lambda row: (row[key]["median"], row[key]["min"], row[key]["max"],
                        say(row[key]["median"]))


# ---- the curve: lines over the number of connections, both axes logarithmic ----------------------
LINE_PLOT = (40, 312)  # from the fewest to the most connections
LINE_HEIGHT = 250
LEAST_GAP = 14  # between two names at the right
LEAST_TICKS = 26  # between two names below
COLOURS = 10


def decades(low, high):
    """Ticks at 1, 2 and 5 times powers of ten that lie in low ... high."""
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    ticks = [factor * 10.0 ** power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high * 1.0001]


def spaced(wanted, least, bottom):
    """Heights as near to those wanted as names need to be apart, none below `bottom`."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for before, after in zip(order, order[1:]):
        placed[after] = max(placed[after], placed[before] + least)
    for i in reversed(order):
        placed[i] = min(placed[i], bottom)
        bottom = placed[i] - least
    return placed


def with_room(places):
    """Which of the ticks can be named without lying on another; the last one always is."""
    named, right = set(), math.inf
    for i in reversed(range(len(places))):
        if right - places[i] >= LEAST_TICKS:
            named.add(i)
            right = places[i]
    return named


def line_of(values, x, y, colour):
    """Segments between neighbours that are both there, and a dot for each value."""
    there = [(x(i), y(value)) if value else None for i, value in enumerate(values)]
    path = "".join(f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"
                   for a, b in zip(there, there[1:]) if a and b)
    dots = "".join(f'<circle class="c{colour}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3"/>'
                   for at in there if at)
    return f'<path class="curve c{colour}" d="{path}"/>{dots}' if path else dots


def curve_chart(title, note, points, lines):
    """`lines` are {name, values}, a value or None for each of `points`; "" when there is no curve
    to draw."""
    lines = [line for line in lines if any(line["values"])]
    if len(points) < 2 or not lines:
        return ""
    all_values = [value for line in lines for value in line["values"] if value]
    low, high = min(all_values) / 1.1, max(all_values) * 1.1
    left, right = LINE_PLOT

    def x(index):
        return left + (right - left) * math.log(points[index] / points[0]) / \
            math.log(points[-1] / points[0])

    def y(value):
        return TOP + (LINE_HEIGHT - TOP) * (1 - math.log(value / low) / math.log(high / low))

    grid = "".join(f'<path class="grid" d="M{left} {y(tick):.1f}H{right}"/>'
                   + words("left tick", left - 6, y(tick) + 4, label_of_tick(round(tick, 9)))
                   for tick in decades(low, high))
    named = with_room([x(i) for i in range(len(points))])
    grid += "".join(f'<path class="grid" d="M{x(i):.1f} {TOP}V{LINE_HEIGHT}"/>'
                    + (words("tick", x(i), LINE_HEIGHT + 15, label_of_tick(point))
                       if i in named else "") for i, point in enumerate(points))
    ends = [y(next(value for value in reversed(line["values"]) if value)) for line in lines]
    places = spaced(ends, LEAST_GAP, LINE_HEIGHT)
    names = "".join(words(f"name c{i % COLOURS}", right + 12, at + 4, line["name"])
                    for i, (line, at) in enumerate(zip(lines, places)))
    drawn = "".join(line_of(line["values"], x, y, i % COLOURS) for i, line in enumerate(lines))
    return (f'<figure><figcaption><b>{escaped(title)}</b> {escaped(note)}</figcaption>'
            f'<svg viewBox="0 0 {CHART_WIDTH} {LINE_HEIGHT + 20}" role="img" '
            f'aria-label="{escaped(title)}">{grid}{drawn}{names}</svg></figure>')
