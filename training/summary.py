"""What a run achieved, in numbers and in words: models by suites, and every comparison worth making.

Accuracies and intervals come from the evaluations' records, comparisons from their item rows, paired on the same
question. A change whose interval contains zero is called "no measurable change". Draws only the table at the end of
a run; report.html is made from the same `Summary`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from data.errors import UserError
from training.gates import METRIC_FIELDS, decide, paired_gain
from training.generalisation_table import generalisation_table
from training.generalisation_view import GeneralisationRow, generalisation_rows, is_generalisation
from training.report.collect import RunView, StageView, read_run

if TYPE_CHECKING:
    from rich.table import Table

CONFIDENCE = 0.95
PLAIN_WIDTH = 400
SCORE_KEYS = {"accuracy", "ci95", "n"}
ITEM_KEYS = {"suite", "item", "correct", "format"}
Items = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Model -> suite -> item id -> row of items.jsonl."""


@dataclass(frozen=True)
class SuiteScore:
    """One model on one suite; shares and interval bounds run from 0 to 1, intervals are 95 %."""

    accuracy: float
    ci95: tuple[float, float]
    n: int
    format_rate: float | None
    format_ci95: tuple[float, float] | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRow:
    """A model stage with its scores by suite; `state` is its stage's, and `scores` is empty before it is measured."""

    name: str
    kind: str
    state: str
    scores: dict[str, SuiteScore]


@dataclass(frozen=True)
class Comparison:
    """The paired change of `metric` from `other` to `model` on the `n` questions of a suite that both answered."""

    model: str
    other: str
    suite: str
    metric: str
    gain: float
    low: float
    high: float
    n: int
    confidence: float = CONFIDENCE

    @property
    def measurable(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    @property
    def numbers(self) -> str:
        """Gain and interval in percentage points, with n."""
        points = f"{100 * self.gain:+.1f} points"
        interval = f"{100 * self.confidence:.0f} % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        return f"{points}, {interval}, n={self.n}"

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no measurable change`."""
        if not self.measurable:
            return "no measurable change"
        return "better" if self.gain > 0 else "worse"

    @property
    def words(self) -> str:
        """One sentence, e.g. `dpo against sft: no measurable change on in_domain (+0.8 points, ...)`."""
        return f"{self.model} against {self.other}: {self.verdict} on {self.suite} ({self.numbers})"


@dataclass(frozen=True)
class GateLine:
    """The gate of a model; `passed` is None where the two evaluations cannot be compared, and `reason` says why."""

    model: str
    passed: bool | None
    reason: str

    @property
    def words(self) -> str:
        """One sentence with the decision first."""
        decision = {True: "met", False: "not met", None: "cannot be decided"}[self.passed]
        return f"gate of {self.model}: {decision}; {self.reason}"


@dataclass(frozen=True)
class Summary:
    """The whole table; `over_base` has every model against the base, `missing` says what is not there yet,
    `damage` what should be there and is not."""

    name: str
    suites: list[str]
    rows: list[ModelRow]
    comparisons: list[Comparison]
    over_base: list[Comparison]
    gates: list[GateLine]
    missing: list[str]
    damage: list[str] = field(default_factory=list)
    generalisation: list[GeneralisationRow] = field(default_factory=list)


def summarise(run_dir: Path) -> Summary:
    """Read a run folder and compare its models; works on unfinished runs and raises UserError when it is no run."""
    return summarise_view(read_run(run_dir))


def summarise_view(run: RunView) -> Summary:
    """The summary of a run already read."""
    evaluations = {model.name: evaluations_by_suite(run, model.name) for model in run.models}
    rows = [_row(model, evaluations[model.name]) for model in run.models]
    suites = list(dict.fromkeys(suite for row in rows for suite in row.scores))
    items = {name: item_rows(stages) for name, stages in evaluations.items()}
    measured = [row.name for row in rows if row.scores]
    comparisons = _compare_all(items, list(_pairs(run, measured)), suites)
    over_base = _compare_all(items, [(row.name, "base") for row in rows if row.name != "base"], suites)
    gates, damage = _gates(run, evaluations), [*run.damage, *_unusable(run)]
    generalisation = generalisation_rows(run)
    return Summary(run.name, suites, rows, comparisons, over_base, gates, run.missing, damage, generalisation)


def evaluations_by_suite(run: RunView, model: str) -> dict[str, StageView]:
    """Suite -> the first finished evaluation of the model that measured it, in pipeline order."""
    chosen: dict[str, StageView] = {}
    for stage in run.evaluations(model):
        for suite, score in _recorded(stage).items():
            if _is_score(score):
                chosen.setdefault(suite, stage)
    return chosen


def _recorded(stage: StageView) -> dict[str, Any]:
    found = (stage.record or {}).get("metrics") or {}
    return {suite: score for suite, score in found.items() if not is_generalisation(suite, score)}


def _is_score(score: Any) -> bool:
    """Whether an evaluation's block of a suite has what the table needs."""
    return isinstance(score, dict) and score.keys() >= SCORE_KEYS and len(score["ci95"]) == 2


def _unusable(run: RunView) -> list[str]:
    """Evaluations whose records or rows are not as posttrain writes them, a sentence each."""
    found = []
    for stage in (stage for stage in run.stages if stage.kind == "evaluate" and stage.record is not None):
        found += [
            f"{stage.name}: its record has no usable score of {suite}"
            for suite, score in _recorded(stage).items()
            if not _is_score(score)
        ]
        broken = sum(not row.keys() >= ITEM_KEYS for row in stage.items)
        if broken:
            found.append(f"{stage.name}: {broken} lines of items.jsonl are not as written, left out of comparisons")
    return found


def _gates(run: RunView, evaluations: dict[str, dict[str, StageView]]) -> list[GateLine]:
    """The gates of measured models, decided as the runner decides them."""
    lines = []
    for model in run.models:
        gate = model.config.get("gate")
        if not gate:
            continue
        other = "base" if gate["over"] == "base" else model.parents[0]
        mine, theirs = (_measuring(evaluations.get(name, {}), gate["suite"]) for name in (model.name, other))
        if mine is None or theirs is None or mine.folder is None or theirs.folder is None:
            continue
        try:
            result = decide(SimpleNamespace(**gate), mine.folder / "items.jsonl", theirs.folder / "items.jsonl")
            lines.append(GateLine(model.name, result.passed, result.reason))
        except (UserError, OSError, KeyError, TypeError, ValueError) as error:
            lines.append(GateLine(model.name, None, str(error)))
    return lines


def _measuring(evaluations: dict[str, StageView], suite: str) -> StageView | None:
    """The evaluation that measured a suite, or the tasks of the benchmark of that name."""
    tasks = (stage for name, stage in evaluations.items() if name.startswith(f"{suite}/"))
    return evaluations.get(suite) or next(tasks, None)


def _row(model: StageView, evaluations: dict[str, StageView]) -> ModelRow:
    scores = {}
    for suite, stage in evaluations.items():
        metrics = (stage.record or {})["metrics"][suite]
        interval = metrics.get("format_ci95")
        scores[suite] = SuiteScore(
            accuracy=metrics["accuracy"],
            ci95=(metrics["ci95"][0], metrics["ci95"][1]),
            n=metrics["n"],
            format_rate=metrics.get("format_rate"),
            format_ci95=(interval[0], interval[1]) if interval else None,
            details=metrics,
        )
    return ModelRow(model.name, model.kind, model.state, scores)


def item_rows(evaluations: dict[str, StageView]) -> dict[str, dict[str, dict[str, Any]]]:
    """Suite -> item id -> row of items.jsonl."""
    rows: dict[str, dict[str, dict[str, Any]]] = {suite: {} for suite in evaluations}
    for folder_stage in {id(stage): stage for stage in evaluations.values()}.values():
        for row in folder_stage.items:
            if row.keys() >= ITEM_KEYS and evaluations.get(row["suite"]) is folder_stage:
                rows[row["suite"]][str(row["item"])] = row
    return rows


def _pairs(run: RunView, measured: list[str]) -> Iterator[tuple[str, str]]:
    """(model, other) worth comparing: each with its parent, each GRPO with its SFT, the last measured with the base."""
    seen: set[tuple[str, str]] = set()
    models = [model for model in run.models if model.name != "base"]
    wanted = [(model.name, model.parents[0]) for model in models if model.parents]
    wanted += [(model.name, sft) for model in models if model.kind == "grpo" and (sft := _sft_ancestor(run, model))]
    wanted += [(measured[-1], "base")] if measured else []
    for pair in wanted:
        if pair not in seen and pair[0] != pair[1]:
            seen.add(pair)
            yield pair


def _sft_ancestor(run: RunView, model: StageView) -> str | None:
    """The nearest SFT stage up the line of first parents, or None."""
    parent = run.stage(model.parents[0]) if model.parents else None
    while parent is not None and parent.kind != "sft":
        parent = run.stage(parent.parents[0]) if parent.parents else None
    return parent.name if parent is not None else None


def _compare_all(items: Items, pairs: list[tuple[str, str]], suites: list[str]) -> list[Comparison]:
    found = [_compare(items, model, other, suite) for model, other in pairs for suite in suites]
    return [comparison for comparison in found if comparison is not None]


def _compare(items: Items, model: str, other: str, suite: str, metric: str = "accuracy") -> Comparison | None:
    """The paired comparison on the questions that both answered, or None when there is none."""
    mine, theirs = items.get(model, {}).get(suite, {}), items.get(other, {}).get(suite, {})
    return paired((model, other), suite, mine, theirs, metric)


def paired(
    names: tuple[str, str],
    suite: str,
    mine: dict[str, dict[str, Any]],
    theirs: dict[str, dict[str, Any]],
    metric: str = "accuracy",
) -> Comparison | None:
    """Compare two models, (the one, the other), by their rows of a suite by item; None where they share no item."""
    shared = [item for item in mine if item in theirs]
    if not shared:
        return None
    column = METRIC_FIELDS[metric]
    before, after = [theirs[item] for item in shared], [mine[item] for item in shared]
    gain, low, high = paired_gain(before, after, column, CONFIDENCE)
    return Comparison(*names, suite, metric, gain, low, high, len(shared))


def print_table(run_dir: Path, file: IO[str] | None = None) -> None:
    """Print the table and the comparisons to `file` (default stdout): coloured on a terminal, else plain ASCII."""
    from rich.console import Console

    console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    summary = summarise(run_dir)
    if summary.suites:
        console.print(_table(summary, console.is_terminal))
    if summary.generalisation:
        console.print(generalisation_table(summary.generalisation, console.is_terminal))
    for comparison in summary.comparisons:
        style = {"better": "green", "worse": "red"}.get(comparison.verdict, "yellow")
        console.print(comparison.words, style=style, markup=False)
    for gate in summary.gates:
        console.print(gate.words, style="green" if gate.passed else "red", markup=False)
    for line in summary.damage:
        console.print(f"damaged: {line}", style="red", markup=False)
    for line in summary.missing:
        console.print(f"not finished: {line}", style="yellow", markup=False)


def _table(summary: Summary, terminal: bool) -> "Table":
    """One row per model; per suite the accuracy with its interval, and the format rate. Two suites fit 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAVY if terminal else box.ASCII2, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for suite in summary.suites:
        counts = sorted({row.scores[suite].n for row in summary.rows if suite in row.scores})
        title = f"{suite} (n={', '.join(map(str, counts))})"
        table.add_column(f"{title}\naccuracy %, 95 % int.", no_wrap=True, justify="right")
        table.add_column("\nformat %", no_wrap=True, justify="right")
    for row in summary.rows:
        cells = [row.name]
        for suite in summary.suites:
            cells += _cells(row.scores.get(suite))
        table.add_row(*cells)
    return table


def _cells(score: SuiteScore | None) -> tuple[str, str]:
    if score is None:
        return "-", "-"
    low, high = (100 * bound for bound in score.ci95)
    accuracy = f"{100 * score.accuracy:.1f} ({low:.1f} to {high:.1f})"
    return accuracy, "-" if score.format_rate is None else f"{100 * score.format_rate:.1f}"
