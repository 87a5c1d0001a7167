"""The results of a run as HTML: the headline, one panel per suite, every comparison in words, sampled accuracy."""

from training.report.charts import interval_strip, share_label
from training.report.markup import Markup, element, join, section, table
from training.report.scale import percent, points
from training.summary import Comparison, ModelRow, SuiteScore, Summary

VERDICT_CLASS = {"better": "good", "worse": "bad", "no measurable change": "flat"}


def headline(summary: Summary) -> Markup | None:
    """One tile per suite: the last measured model against the base, or None when nothing is measured."""
    tiles = [tile for suite in summary.suites if (tile := _tile(summary, suite)) is not None]
    title = element("h2", "At a glance", class_="hidden")
    return join(title, element("div", *tiles, class_="tiles")) if tiles else None


def results_section(summary: Summary) -> Markup:
    """Accuracy with intervals per suite, and the comparisons."""
    if not summary.suites:
        return section("results", "Results", element("p", "No model has been measured yet.", class_="empty"))
    panels = element("div", *(_panel(summary, suite) for suite in summary.suites), class_="grid wide")
    lead = (
        "Share of questions answered right, by one lenient reading of the answer for every model. Bars are 95 % "
        "intervals; the format rate, whether the answer is written as asked, is counted apart."
    )
    return section("results", "Results", panels, _comparisons(summary), _gates(summary), _sampled(summary), lead=lead)


def _tile(summary: Summary, suite: str) -> Markup | None:
    measured = [row for row in summary.rows if suite in row.scores]
    if not measured:
        return None
    last, first = measured[-1], measured[0]
    score = last.scores[suite]
    number = element("p", percent(score.accuracy, 0), class_="figure")
    name = element("h3", suite)
    if last is first:
        return element("div", name, number, element("p", f"{last.name}, n={score.n}"), class_="tile")
    start = f"{last.name}, from {percent(first.scores[suite].accuracy, 0)} ({first.name})"
    change = next((one for one in summary.over_base if one.model == last.name and one.suite == suite), None)
    note = element("p", f"{start}; n={score.n}")
    return element("div", name, number, note, _change(change) if change else None, class_="tile")


def _change(change: Comparison) -> Markup:
    interval = f"{points(change.gain)} points, 95 % interval {points(change.low)} to {points(change.high)}"
    text = interval if change.measurable else f"no measurable change: {interval}"
    return element("p", text, class_=f"verdict {VERDICT_CLASS[change.verdict]}")


def _panel(summary: Summary, suite: str) -> Markup:
    rows = [_panel_row(number, row, row.scores.get(suite)) for number, row in enumerate(summary.rows)]
    counts = {row.scores[suite].n for row in summary.rows if suite in row.scores}
    caption = f"{suite}: accuracy, n={' or '.join(str(count) for count in sorted(counts))}{_replaced(summary, suite)}"
    axis = element("span", *(element("i", text) for text in ("0", "50", "100 %")), class_="axis-labels")
    head = ("model", axis, "accuracy", "95 % interval", "format")
    return element("div", table(head, rows, caption, numeric=(2, 3, 4)), class_="panel")


def _replaced(summary: Summary, suite: str) -> str:
    """How many questions equalled a training prompt and were replaced, when any were."""
    most = max(row.scores[suite].details.get("replaced") or 0 for row in summary.rows if suite in row.scores)
    return f" ({most} equal to a training prompt were replaced)" if most else ""


def _panel_row(number: int, row: ModelRow, score: SuiteScore | None) -> list[Markup | str]:
    if score is None:
        return [row.name, element("span", "not measured", class_="empty"), "", "", ""]
    low, high = score.ci95
    strip = interval_strip(low, score.accuracy, high, (0, 1), number, share_label(row.name, score.accuracy, low, high))
    interval = f"{100 * low:.1f}\u2013{100 * high:.1f}"
    tidy = "" if score.format_rate is None else percent(score.format_rate, 0)
    return [row.name, strip, element("b", percent(score.accuracy)), interval, tidy]


def _comparisons(summary: Summary) -> Markup | None:
    if not summary.comparisons:
        return None
    reach = max(max(abs(one.low), abs(one.high)) for one in summary.comparisons)
    rows = [_comparison_row(one, reach) for one in summary.comparisons]
    head = ("comparison", "verdict", "change", "points, 95 % interval")
    inner = table(head, rows, "Comparisons, paired on the same questions", numeric=(3,))
    return element("div", inner, class_="panel comparisons")


def _comparison_row(one: Comparison, reach: float) -> list[Markup | str]:
    name = join(f"{one.model} against {one.other}", element("small", f"{one.suite}, n={one.n}"))
    interval = element("small", f"{points(one.low)} to {points(one.high)}")
    strip = interval_strip(one.low, one.gain, one.high, (-1.05 * reach, 1.05 * reach), 0, one.words)
    verdict = element("span", one.verdict, class_=f"verdict {VERDICT_CLASS[one.verdict]}")
    return [name, verdict, strip, join(element("b", points(one.gain)), interval)]


def _gates(summary: Summary) -> Markup | None:
    if not summary.gates:
        return None
    items = [element("li", element("span", one.words, class_="good" if one.passed else "bad")) for one in summary.gates]
    return element("ul", *items, class_="gates")


def _sampled(summary: Summary) -> Markup | None:
    """Accuracy of drawn answers (pass@k, maj@k), when an evaluation drew any."""
    found = [
        (suite, row.name, sampled)
        for suite in summary.suites
        for row in summary.rows
        if suite in row.scores and (sampled := row.scores[suite].details.get("sampled"))
    ]
    if not found:
        return None
    names = list(dict.fromkeys(key for _, _, sampled in found for key in sampled if "@" in key))
    settings = sorted({f"{s['draws']} draws, temperature {s['temperature']}, top-p {s['top_p']}" for _, _, s in found})
    rows = [
        [model, suite, *(percent(sampled[name]) if name in sampled else "" for name in names)]
        for suite, model, sampled in found
    ]
    inner = table(("model", "suite", *names), rows, f"Drawn answers: {'; '.join(settings)}", range(2, 2 + len(names)))
    summary_line = element("summary", "Accuracy of drawn answers (pass@k and majority vote)")
    return join(element("details", summary_line, inner))
