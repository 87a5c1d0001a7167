"""Does it generalise or memorise: the change over the base by suite and stage, and accuracy by task family."""

from typing import Any

from training.report.charts import Spread, spread_chart
from training.report.markup import Markup, element, join, section, table
from training.report.scale import percent, points
from training.summary import Comparison, Summary


def generalisation_section(summary: Summary) -> Markup | None:
    """The two charts over stages and the table of families; None when fewer than two models are measured."""
    measured = [row for row in summary.rows if row.scores]
    if len(measured) < 2:
        return None
    charts = element("div", _accuracy_chart(summary), _change_chart(summary), class_="grid wide")
    lead = (
        "Suites of families that the stages trained on should rise; suites that no stage saw show whether what was "
        "learned carries over. Changes are paired on the same questions."
    )
    return section("generalisation", "Does it generalise?", charts, _families(summary), lead=lead)


def _accuracy_chart(summary: Summary) -> Markup:
    names = [row.name for row in summary.rows if row.scores]
    groups = []
    for suite in summary.suites:
        group = []
        for row in summary.rows:
            if suite in row.scores:
                score = row.scores[suite]
                note = f"{row.name} {percent(score.accuracy)} ({percent(score.ci95[0])} to {percent(score.ci95[1])})"
                group.append(Spread(names.index(row.name), score.accuracy, *score.ci95, note))
        groups.append((suite, group))
    return spread_chart("Accuracy by stage", "%, with 95 % intervals", names, groups)


def _change_chart(summary: Summary) -> Markup | None:
    if not summary.over_base:
        return None
    names = list(dict.fromkeys(one.model for one in summary.over_base))
    groups = []
    for suite in summary.suites:
        own = [one for one in summary.over_base if one.suite == suite]
        if own:
            groups.append((suite, [Spread(names.index(o.model), o.gain, o.low, o.high, _note(o)) for o in own]))
    return spread_chart("Change over the base", "points, paired, with 95 % intervals", names, groups, zero=True)


def _note(one: Comparison) -> str:
    return f"{one.model} {points(one.gain)} points ({points(one.low)} to {points(one.high)})"


def _families(summary: Summary) -> Markup | None:
    models = [row for row in summary.rows if row.scores]
    rows = []
    for suite in summary.suites:
        families = dict.fromkeys(
            family for row in models if suite in row.scores for family in row.scores[suite].details.get("families", {})
        )
        for family in families:
            cells = [_family_cell(row.scores[suite].details, family) if suite in row.scores else "" for row in models]
            rows.append([join(family, element("small", suite)), *cells])
    if not rows:
        return None
    head = ("family", *(row.name for row in models))
    return element("div", table(head, rows, "Accuracy by family", range(1, 1 + len(models))), class_="panel heat")


def _family_cell(details: dict[str, Any], family: str) -> Markup | str:
    found = details.get("families", {}).get(family)
    if found is None:
        return ""
    share = found["accuracy"]
    style = f"--heat:{100 * share:.0f}%"
    return element("span", percent(share, 0), style=style, class_="heat-cell", title=f"n={found['n']}")
