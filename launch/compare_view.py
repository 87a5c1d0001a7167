"""A comparison of runs as text for a terminal: what differs first, then what it did and what it cost."""

import sys
from collections.abc import Iterator
from typing import IO

from launch.words import table
from training.compare.comparison import RunsCompared
from training.compare.page import plain
from training.compare.settings import Difference
from training.progress import duration

LONGEST = 44
ABSENT = "-"
STYLES = {"better": "green", "worse": "red", "slower": "red", "faster": "green"}


def print_comparison(compared: RunsCompared, file: IO[str] | None = None) -> None:
    """Print every part that has something to say; verdicts are coloured on a terminal."""
    from rich.console import Console

    console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)
    for line, style in comparison_lines(compared):
        console.print(line, style=style, markup=False)


def comparison_lines(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    """The text line by line, each with its style."""
    first, *others = compared.labels
    yield f"{', '.join(others)} against {first}", "bold"
    for label, missing in compared.missing.items():
        for line in missing:
            yield f"missing in {label}: {line}", "yellow"
    yield from _stages(compared)
    yield from _differences("config", compared, compared.config, "no key differs")
    yield from _data(compared)
    yield from _differences("environment", compared, compared.environment, "no difference in what the records tell")
    yield from _accuracy(compared)
    yield from _learning(compared)
    yield from _seconds(compared)


def _heading(title: str) -> Iterator[tuple[str, str]]:
    yield "", ""
    yield title, "bold"


def _stages(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    yield from _heading("stages")
    rows = []
    for one in compared.stages:
        cells = [f"{one.states[label]} {one.fingerprints.get(label, '')[:8]}".strip() for label in compared.labels]
        same = {True: "same experiment", False: "another experiment", None: ""}[one.same_experiment]
        weights = {True: ", same weights", False: "", None: ""}[one.same_weights]
        rows.append([one.name, *cells, same + weights])
    yield table(["stage", *compared.labels, ""], rows), ""


def _differences(
    title: str, compared: RunsCompared, found: list[Difference], nothing: str
) -> Iterator[tuple[str, str]]:
    yield from _heading(title)
    yield (_difference_table(compared, found) if found else nothing), ""


def _difference_table(compared: RunsCompared, found: list[Difference]) -> str:
    rows = [
        [one.key, *(_short(plain(one.values[label])) if label in one.values else ABSENT for label in compared.labels)]
        for one in found
    ]
    return table(["key", *compared.labels], rows)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _data(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    if not compared.data:
        return
    yield from _heading("data")
    alike = [name for name, found in compared.data.items() if not found]
    if alike:
        yield f"the same rows: {', '.join(alike)}", ""
    keyed = [Difference(f"{name}: {one.key}", one.values) for name, found in compared.data.items() for one in found]
    if keyed:
        yield _difference_table(compared, keyed), ""


def _accuracy(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    if not compared.accuracy:
        return
    yield from _heading("accuracy, paired on the same questions")
    for pair in compared.accuracy:
        before, after = (100 * score.accuracy for score in (pair.other_score, pair.score))
        model = pair.model if pair.model == pair.other else f"{pair.model} against {pair.other}"
        text = f"{model}, {pair.suite}: {before:.1f} % in {pair.against}, {after:.1f} % in {pair.run}"
        alone = f"; {pair.alone} questions are not shared" if pair.alone else ""
        if pair.paired is None:
            yield f"{text}: no question is the same{alone}", "yellow"
            continue
        changes = f"{pair.gained} gained, {pair.lost} lost"
        yield f"{text}: {pair.paired.verdict} ({pair.paired.numbers}; {changes}{alone})", _style(pair.paired.verdict)


def _learning(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    if not compared.learning:
        return
    yield from _heading("learning: mean of the first tenth of the steps -> of the last (steps)")
    rows = []
    for one in compared.learning:
        cells = []
        for label in compared.labels:
            start, end = one.by_run.get(label, (None, None))
            cells.append(ABSENT if start is None else f"{start:.4g} -> {end:.4g} ({one.steps[label]})")
        rows.append([f"{one.stage} {one.metric}", *cells])
    yield table(["metric", *compared.labels], rows), ""


def _seconds(compared: RunsCompared) -> Iterator[tuple[str, str]]:
    if not compared.totals:
        return
    yield from _heading("time")
    rows = [
        [one.stage, *(duration(one.wall_s[label]) if label in one.wall_s else ABSENT for label in compared.labels)]
        for one in compared.totals
    ]
    yield table(["wall time", *compared.labels], rows), ""
    for stage in compared.seconds:
        yield "", ""
        yield stage.words, _style(stage.step.verdict)
        rows = [
            [
                one.phase,
                *(f"{spread.mean:.3f} +- {spread.deviation:.3f}" for spread in (one.before, one.after)),
                f"{one.seconds:+.3f}",
                f"{one.low:+.3f} to {one.high:+.3f}",
                one.verdict,
            ]
            for one in [stage.step, *stage.phases]
        ]
        yield table(["s a step", stage.against, stage.run, "change", "95 % interval", ""], rows), ""


def _style(verdict: str) -> str:
    return STYLES.get(verdict, "yellow")
