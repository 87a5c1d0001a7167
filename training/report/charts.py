"""Charts as inline SVG: lines over steps, values with intervals over stages, interval strips, and stacked bars.

Every chart is a `<figure>` with title, unit and legend in HTML and an SVG with `role="img"` whose label says in words
what it shows. There is no script: tooltips are SVG titles, colours are CSS variables and follow the page's theme.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.report.markup import Markup, element, join
from training.report.scale import Scale, Span, axis_labels, figure, nice_ticks, percent, points, smoothed, thinned

COLOURS = 8
FIRST_GROUP_COLOUR = 6
WIDTH, HEIGHT = 400, 232
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 42


@dataclass(frozen=True)
class Series:
    """Points (x, y) in rising x with a label; `colour` numbers one of the page's series colours, from 0."""

    label: str
    points: list[tuple[float, float]]
    colour: int = 0


@dataclass(frozen=True)
class Spread:
    """A value with its interval at the position `at` of a category axis."""

    at: int
    value: float
    low: float
    high: float
    note: str


def line_chart(title: str, unit: str, series: Sequence[Series], x_title: str = "optimizer step") -> Markup:
    """Lines over steps: each step thin, the moving average bold, with a tooltip per point.

    Of more than 300 steps, neighbours are drawn as their mean, on a band from their lowest to their highest.
    """
    spans = [thinned(one.points) for one in series]
    x_low, x_high = min(one[0].at for one in spans), max(one[-1].at for one in spans)
    y_ticks = nice_ticks(min(s.low for one in spans for s in one), max(s.high for one in spans for s in one))
    x = Scale(x_low, max(x_high, x_low + 1), LEFT, WIDTH - RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    x_ticks = [tick for tick in nice_ticks(x_low, x_high, 5) if x_low <= tick <= x_high and tick == int(tick)]
    drawn = [_line(one, drawn, x, y) for one, drawn in zip(series, spans, strict=True)]
    inside = join(
        _grid(y_ticks, axis_labels(y_ticks), y), _x_axis([(tick, figure(tick)) for tick in x_ticks], x, x_title), drawn
    )
    return _figure(
        title, unit, [(one.label, one.colour) for one in series], _svg(inside, _line_words(title, unit, series))
    )


def spread_chart(
    title: str, unit: str, categories: Sequence[str], groups: Sequence[tuple[str, Sequence[Spread]]], zero: bool = False
) -> Markup:
    """Values with their intervals over named categories, one colour a group; `zero` draws the line of no change.

    Values are shares and are labelled in percent, or in points when `zero` is set.
    """
    spreads = [spread for _, group in groups for spread in group]
    low, high = min(spread.low for spread in spreads), max(spread.high for spread in spreads)
    ticks = nice_ticks(min(0.0, low), max(0.0, high))
    y = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    x = Scale(-0.5, len(categories) - 0.5, LEFT, WIDTH - RIGHT)
    axis = _x_axis([(index, name) for index, name in enumerate(categories)], x, "stage")
    labels = [points(tick, 0) if zero and tick else f"{100 * tick:.0f}" for tick in ticks]
    parts = [_grid(ticks, labels, y), axis]
    if zero:
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(0):.1f}", y2=f"{y(0):.1f}", class_="zero"))
    for number, (_, group) in enumerate(groups):
        shift = 7 * (number - (len(groups) - 1) / 2)
        parts.append(_spreads(group, x, y, shift, FIRST_GROUP_COLOUR + number))
    words = "; ".join(f"{name}: " + ", ".join(spread.note for spread in group) for name, group in groups)
    legend = [(name, FIRST_GROUP_COLOUR + number) for number, (name, _) in enumerate(groups)]
    return _figure(title, unit, legend, _svg(join(parts), f"{title}. {words}."))


def interval_strip(
    low: float, value: float, high: float, bounds: tuple[float, float], colour: int, label: str
) -> Markup:
    """A dot with its interval on a strip as wide as its table cell; `bounds` are the values at its ends."""
    x = Scale(*bounds, 3, 97)
    marks = [
        element("line", x1=f"{x(tick):.2f}%", x2=f"{x(tick):.2f}%", y1=0, y2=22, class_=kind)
        for tick, kind in _marks(bounds)
    ]
    whisker = element("line", x1=f"{x(low):.2f}%", x2=f"{x(high):.2f}%", y1=11, y2=11, class_="whisker")
    dot = element("circle", cx=f"{x(value):.2f}%", cy=11, r=4.5, class_="dot")
    drawn = element("g", whisker, dot, class_=f"c{colour % COLOURS}")
    return element("svg", *marks, drawn, class_="strip", role="img", aria_label=label)


def stacked_bar(parts: Sequence[tuple[str, float, str]], whole: float, label: str) -> Markup:
    """A bar of (name, amount, css class) parts, as long as their sum is of `whole`."""
    drawn, start = [], 0.0
    for name, amount, style in parts:
        width = 100 * amount / whole
        title = element("title", f"{name}: {figure(amount)} s")
        drawn.append(element("rect", title, x=f"{start:.3f}%", y=0, width=f"{width:.3f}%", height=20, class_=style))
        start += width
    return element("svg", *drawn, class_="bar", role="img", aria_label=label)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Names with their colours; entries are (name, css class of the swatch)."""
    items = [element("li", element("i", class_=f"swatch {style}", aria_hidden="true"), name) for name, style in entries]
    return element("ul", *items, class_="legend")


def _figure(title: str, unit: str, entries: Sequence[tuple[str, int]], svg: Markup) -> Markup:
    shown = legend([(name, f"c{colour % COLOURS}") for name, colour in entries]) if len(entries) > 1 else None
    caption = element(
        "figcaption", element("strong", title), element("span", unit, class_="unit") if unit else None, shown
    )
    return element("figure", caption, svg, class_="chart")


def _svg(inside: Markup, label: str) -> Markup:
    return element("svg", inside, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, class_="plot")


def _grid(ticks: Sequence[float], labels: Sequence[str], y: Scale) -> Markup:
    lines = [
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y(tick):.1f}", y2=f"{y(tick):.1f}", class_="grid")
        for tick in ticks
    ]
    texts = [
        element("text", label, x=LEFT - 7, y=f"{y(tick) + 4.5:.1f}", class_="tick end")
        for tick, label in zip(ticks, labels, strict=True)
    ]
    return join(lines, texts)


def _x_axis(ticks: Sequence[tuple[float, str]], x: Scale, title: str) -> Markup:
    base = HEIGHT - BOTTOM
    texts = [element("text", name, x=f"{x(at):.1f}", y=base + 18, class_="tick middle") for at, name in ticks]
    marks = [
        element("line", x1=f"{x(at):.1f}", x2=f"{x(at):.1f}", y1=base, y2=base + 4, class_="axis") for at, _ in ticks
    ]
    line = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis")
    name = element("text", title, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, class_="tick middle")
    return join(line, marks, texts, name)


def _line(series: Series, spans: Sequence[Span], x: Scale, y: Scale) -> Markup:
    averaged, _ = smoothed([span.mean for span in spans])
    raw = " ".join(f"{x(span.at):.1f},{y(span.mean):.1f}" for span in spans)
    bold = " ".join(f"{x(span.at):.1f},{y(mean):.1f}" for span, mean in zip(spans, averaged, strict=True))
    radius = max(3.0, min(7, (WIDTH - LEFT - RIGHT) / len(spans)))
    hits = [
        element(
            "circle",
            element("title", f"{series.label}, {_span_words(span)} (smoothed {figure(mean)})"),
            cx=f"{x(span.at):.1f}",
            cy=f"{y(span.mean):.1f}",
            r=f"{radius:.1f}",
        )
        for span, mean in zip(spans, averaged, strict=True)
    ]
    lines = join(
        _band(spans, x, y),
        element("polyline", points=raw, class_="raw"),
        element("polyline", points=bold, class_="bold"),
    )
    single = element("circle", cx=f"{x(spans[0].at):.1f}", cy=f"{y(averaged[0]):.1f}", r=3.5, class_="dot")
    shown = lines if len(spans) > 1 else single
    return element("g", shown, element("g", *hits, class_="hits"), class_=f"c{series.colour % COLOURS}")


def _band(spans: Sequence[Span], x: Scale, y: Scale) -> Markup | None:
    """From the lowest to the highest step that each point stands for; None where each stands for one."""
    if all(span.first == span.last for span in spans):
        return None
    above = [f"{x(span.at):.1f},{y(span.high):.1f}" for span in spans]
    below = [f"{x(span.at):.1f},{y(span.low):.1f}" for span in reversed(spans)]
    return element("polygon", points=" ".join([*above, *below]), class_="band")


def _span_words(span: Span) -> str:
    if span.first == span.last:
        return f"step {figure(span.at)}: {figure(span.mean)}"
    extremes = f"lowest {figure(span.low)}, highest {figure(span.high)}"
    return f"steps {figure(span.first)} to {figure(span.last)}: mean {figure(span.mean)}, {extremes}"


def _line_words(title: str, unit: str, series: Sequence[Series]) -> str:
    """What a line chart shows, for readers who do not see it."""
    parts = []
    for one in series:
        (_, first), (last_at, last) = one.points[0], one.points[-1]
        values = [value for _, value in one.points]
        spread = f"lowest {figure(min(values))}, highest {figure(max(values))}"
        parts.append(f"{one.label}: {figure(first)} at first, {figure(last)} at step {figure(last_at)}, {spread}")
    return f"{title}{f' in {unit}' if unit else ''}. {'; '.join(parts)}."


def _spreads(group: Sequence[Spread], x: Scale, y: Scale, shift: float, colour: int) -> Markup:
    path = " ".join(f"{x(spread.at) + shift:.1f},{y(spread.value):.1f}" for spread in group)
    parts = [element("polyline", points=path, class_="link")]
    for spread in group:
        at = f"{x(spread.at) + shift:.1f}"
        parts.append(
            element("line", x1=at, x2=at, y1=f"{y(spread.low):.1f}", y2=f"{y(spread.high):.1f}", class_="whisker")
        )
        parts.append(
            element("circle", element("title", spread.note), cx=at, cy=f"{y(spread.value):.1f}", r=4.5, class_="dot")
        )
    return element("g", *parts, class_=f"c{colour % COLOURS}")


def _marks(bounds: tuple[float, float]) -> list[tuple[float, str]]:
    """Faint quarter lines of a strip from 0 to 1, or the line of no change of a strip around zero."""
    if bounds[0] < 0:
        return [(0.0, "zero")]
    return [(bounds[0] + share * (bounds[1] - bounds[0]), "grid") for share in (0, 0.25, 0.5, 0.75, 1)]


def share_label(name: str, value: float, low: float, high: float) -> str:
    """The words of an interval strip."""
    return f"{name}: {percent(value)}, 95 % interval {percent(low)} to {percent(high)}"
