"""A comparison as one HTML page: self-contained and without script, drawn with the report's charts and tables."""

import json
from typing import Any

from training.compare.answers import SuitePair
from training.compare.comparison import RunsCompared
from training.compare.learning import overlays
from training.compare.settings import Difference
from training.compare.step_seconds import PhaseChange, StageSeconds
from training.progress import duration
from training.report.charts import interval_strip, legend, line_chart, stacked_bar
from training.report.document import document
from training.report.markup import Child, Markup, element, join, section, table
from training.report.provenance import PRIVATE
from training.report.results import VERDICT_CLASS
from training.report.scale import figure, percent, points

SPEED_CLASS = {"slower": "bad", "faster": "good", "no measurable change": "flat"}
STYLE = """
.versus td:nth-child(5){width:30%}.versus td:nth-child(4){white-space:nowrap}
@media (max-width:600px){.versus tr>:nth-child(5){display:none}.versus td:nth-child(4){white-space:normal}}
"""


def comparison_page(compared: RunsCompared) -> str:
    """The HTML of the page."""
    sections = {
        "Accuracy": _accuracy(compared),
        "Time": _time(compared),
        "Curves": _curves(compared),
        "Config": _config(compared),
        "Data": _data(compared),
        "Stages": _stages(compared),
        "Environment": _environment(compared),
    }
    present = {title: content for title, content in sections.items() if content is not None}
    links = [element("a", title, href=f"#{title.lower()}") for title in present]
    nav = element("nav", *links, aria_label="Sections")
    title = f"{' and '.join(compared.labels)}: runs compared"
    return document(title, element("main", _header(compared), nav, *present.values()), STYLE)


def _header(compared: RunsCompared) -> Markup:
    first, *others = compared.labels
    runs = [element("li", join(element("b", run.label), f": {run.view.name}")) for run in compared.runs]
    missing = [f"{label}: {line}" for label, lines in compared.missing.items() for line in lines]
    items = [element("li", line) for line in missing]
    banner = element("div", element("p", "Missing, and left out:"), element("ul", *items), class_="banner")
    return element(
        "header",
        element("p", "Runs compared", class_="over"),
        element("h1", f"{', '.join(others)} against {first}"),
        element("ul", *runs, class_="meta"),
        banner if missing else None,
    )


def _accuracy(compared: RunsCompared) -> Markup | None:
    pairs = compared.accuracy
    if not pairs:
        return None
    measured = [one.paired for one in pairs if one.paired is not None]
    reach = max((max(abs(one.low), abs(one.high)) for one in measured), default=1.0)
    rows = [_accuracy_row(pair, reach) for pair in pairs]
    head = ("model", "before", "after", "verdict", "change", "points, 95 % interval", "gained, lost")
    inner = table(head, rows, "Accuracy, paired on the same questions", numeric=(1, 2, 5, 6))
    lead = "Paired where item, prompt and answer are the same; an interval that contains zero is no measurable change."
    return section("accuracy", "Accuracy", element("div", inner, class_="panel versus"), lead=lead)


def _accuracy_row(pair: SuitePair, reach: float) -> list[Child]:
    model = pair.model if pair.model == pair.other else f"{pair.model} against {pair.other}"
    note = f"{pair.suite}, {pair.run}" + (f", {pair.alone} questions not shared" if pair.alone else "")
    name = join(model, element("small", note))
    scores = [percent(pair.other_score.accuracy), percent(pair.score.accuracy)]
    one = pair.paired
    if one is None:
        return [name, *scores, element("span", "no question is the same", class_="empty"), "", "", ""]
    verdict = element("span", one.verdict, class_=f"verdict {VERDICT_CLASS[one.verdict]}")
    strip = interval_strip(one.low, one.gain, one.high, (-1.05 * reach, 1.05 * reach), 0, one.words)
    interval = element("small", f"{points(one.low)} to {points(one.high)}, n={one.n}")
    return [
        name,
        *scores,
        verdict,
        strip,
        join(element("b", points(one.gain)), interval),
        f"{pair.gained}, {pair.lost}",
    ]


def _time(compared: RunsCompared) -> Markup | None:
    if not compared.totals:
        return None
    labels = compared.labels
    rows = [
        [one.stage, *(duration(one.wall_s[label]) if label in one.wall_s else "" for label in labels)]
        for one in compared.totals
    ]
    caption = "Wall time by stage, loading and saving included"
    wall = element("div", table(("stage", *labels), rows, caption, range(1, 1 + len(labels))), class_="panel")
    stages = [part for one in compared.seconds for part in _stage_seconds(one)]
    lead = (
        "Seconds of the main thread in one optimizer step, mean over ranks, the first step left out. Intervals take "
        "steps as independent."
    )
    return section("time", "Where a step's seconds went", *stages, wall, lead=lead)


def _stage_seconds(stage: StageSeconds) -> list[Markup]:
    reach = max(max(abs(one.low), abs(one.high)) for one in [stage.step, *stage.phases]) or 1.0
    rows = [_phase_row(one, reach) for one in [stage.step, *stage.phases]]
    head = ("phase", stage.against, stage.run, "verdict", "change", "s a step, 95 % interval")
    inner = table(head, rows, f"{stage.stage}: seconds a step, mean and standard deviation", numeric=(1, 2, 5))
    words = element("p", stage.words, class_=SPEED_CLASS[stage.step.verdict])
    longest = max(stage.step.before.mean, stage.step.after.mean) or 1.0
    bars = [
        [label, stacked_bar([(one.phase, spread(one).mean, f"p-{one.phase}") for one in stage.phases], longest, words_)]
        for label, spread, words_ in (
            (stage.against, lambda one: one.before, f"{stage.against}: {figure(stage.step.before.mean)} s a step"),
            (stage.run, lambda one: one.after, f"{stage.run}: {figure(stage.step.after.mean)} s a step"),
        )
    ]
    drawn = table(("run", "a step by phase"), bars, f"{stage.stage}: a step by phase")
    entries = legend([(one.phase, f"p-{one.phase}") for one in stage.phases])
    return [
        element("h3", stage.stage, element("small", f"{stage.run} against {stage.against}")),
        words,
        element("div", drawn, entries, class_="panel ledger"),
        element("div", inner, class_="panel versus"),
    ]


def _phase_row(one: PhaseChange, reach: float) -> list[Child]:
    spreads = [f"{spread.mean:.3f} \u00b1 {spread.deviation:.3f}" for spread in (one.before, one.after)]
    verdict = element("span", one.verdict, class_=f"verdict {SPEED_CLASS[one.verdict]}")
    label = f"{one.phase}: {one.seconds:+.3f} s a step, 95 % interval {one.low:+.3f} to {one.high:+.3f}"
    strip = interval_strip(one.low, one.seconds, one.high, (-1.05 * reach, 1.05 * reach), 0, label)
    interval = element("small", f"{one.low:+.3f} to {one.high:+.3f}".replace("-", "\u2212"))
    change = element("b", f"{one.seconds:+.3f}".replace("-", "\u2212"))
    return [one.phase, *spreads, verdict, strip, join(change, interval)]


def _curves(compared: RunsCompared) -> Markup | None:
    parts: list[Markup] = []
    by_stage: dict[str, list[Markup]] = {}
    for one in overlays(compared.runs):
        by_stage.setdefault(one.stage, []).append(line_chart(one.title, one.unit, one.series))
    for stage, charts in by_stage.items():
        parts += [element("h3", stage), element("div", *charts, class_="grid")]
    lead = "Thin: each optimizer step. Bold: centred moving average. One colour a run."
    return section("curves", "Learning curves", *parts, lead=lead) if parts else None


def _config(compared: RunsCompared) -> Markup:
    if not compared.config:
        return section("config", "Config", element("p", "No key differs."))
    inner = _difference_table(compared, compared.config, "Keys that differ")
    return section("config", "Config", inner, lead="A dash stands where a run does not have the key, or it is null.")


def _data(compared: RunsCompared) -> Markup | None:
    if not compared.data:
        return None
    alike = [name for name, found in compared.data.items() if not found]
    parts: list[Markup] = [element("p", f"The same rows: {', '.join(alike)}.")] if alike else []
    parts += [_difference_table(compared, found, name) for name, found in compared.data.items() if found]
    return section("data", "Data", *parts)


def _environment(compared: RunsCompared) -> Markup | None:
    found = [one for one in compared.environment if one.key not in PRIVATE]
    if not found:
        return None
    return section("environment", "Environment", _difference_table(compared, found, "Where the stages ran"))


def _stages(compared: RunsCompared) -> Markup:
    words = {True: "yes", False: "no", None: ""}
    rows = []
    for one in compared.stages:
        cells = [f"{one.states[label]} {one.fingerprints.get(label, '')[:8]}" for label in compared.labels]
        rows.append([one.name, *cells, words[one.same_experiment], words[one.same_weights]])
    head = ("stage", *compared.labels, "same experiment", "same weights")
    inner = table(head, rows, "State and fingerprint of each stage")
    return section("stages", "Stages", element("div", inner, class_="panel"))


def _difference_table(compared: RunsCompared, found: list[Difference], caption: str) -> Markup:
    rows = [[element("code", one.key), *(_value(one, label) for label in compared.labels)] for one in found]
    return element("div", table(("key", *compared.labels), rows, caption), class_="panel")


def _value(one: Difference, label: str) -> str:
    return plain(one.values[label]) if label in one.values else "\u2013"


def plain(value: Any) -> str:
    """A value of a config as people read it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
