"""What the points of a sweep achieved: a table of the varied keys, held-out losses and accuracies, and `sweep.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.words import table
from training.config.sweep import LoadedSweep, short_keys
from training.report.collect import read_run
from training.run_folder import RESOLVED_NAME
from training.summary import ModelRow, summarise_view

METRIC = "eval_loss"
SWEEP_SCHEMA_VERSION = 1


def point_results(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Return what a point has measured so far, stages in pipeline order.

    `results` is {model: {suite: {accuracy, ci95, n}}}, `eval_loss` {stage: the last loss on its held-out rows}.
    """
    if not (run_dir / RESOLVED_NAME).is_file():
        return {"results": {}, "eval_loss": {}}
    run = read_run(run_dir)
    held_out = {
        stage.name: stage.record["metrics"].get(METRIC) for stage in run.stages if stage.trains and stage.record
    }
    return {
        "results": {row.name: _scores(row) for row in summarise_view(run).rows if row.scores},
        "eval_loss": {name: loss for name, loss in held_out.items() if loss is not None},
    }


def _scores(row: ModelRow) -> dict[str, Any]:
    return {
        suite: {"accuracy": score.accuracy, "ci95": list(score.ci95), "n": score.n}
        for suite, score in row.scores.items()
    }


def sweep_content(sweep: LoadedSweep, folder: Path, states: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of sweep.json; `states` has each point's state, exit_code, seconds and shared stages."""
    points = []
    for point in sweep.points:
        points.append(
            {
                "index": point.index,
                "name": point.name,
                "values": point.values,
                "overrides": point.overrides,
                **states[point.index],
                **point_results(folder / point.name),
            }
        )
    head = {"schema_version": SWEEP_SCHEMA_VERSION, "name": sweep.name, "file": str(sweep.path)}
    return {**head, "config": str(sweep.config_path), "keys": sweep.keys, "points": points}


def sweep_text(content: Mapping[str, Any]) -> str:
    """Return the table of a sweep: a row a point, with held-out losses and the last model that was measured."""
    labels = short_keys(content["keys"])
    suites = list(dict.fromkeys(suite for point in content["points"] for suite in _last(point)[1]))
    losses = list(dict.fromkeys(stage for point in content["points"] for stage in point["eval_loss"]))
    header = ["point", *labels.values(), "state", *(f"{stage} {METRIC}" for stage in losses)]
    header += ["model", *(f"{suite}, 95 % interval, n" for suite in suites)] if suites else []
    rows = []
    for point in content["points"]:
        model, scores = _last(point)
        values = [_plain(point["values"].get(key)) for key in content["keys"]]
        cells = [f"{point['eval_loss'][stage]:.4f}" if stage in point["eval_loss"] else "-" for stage in losses]
        cells += [model, *(_score(scores.get(suite)) for suite in suites)] if suites else []
        rows.append([str(point["index"]), *values, point["state"], *cells])
    return table(header, rows)


def _last(point: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The last model of a point that was measured, with its scores."""
    results = list(point["results"].items())
    return results[-1] if results else ("-", {})


def _plain(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    low, high = score["ci95"]
    return f"{100 * score['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {score['n']}"


def seed_means(content: Mapping[str, Any]) -> list[str]:
    """Return a line for each set of values run with several seeds: mean accuracy and the spread over seeds.

    The spread is the sample standard deviation; the interval of a single point covers the questions only.
    """
    if "seed" not in content["keys"]:
        return []
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for point in content["points"]:
        rest = {key: value for key, value in point["values"].items() if key != "seed"}
        if point["state"] == "done":
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(point)
    return [_over_seeds(json.loads(rest), points) for rest, points in groups.items() if len(points) > 1]


def _over_seeds(values: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    import statistics

    labels = short_keys(list(values))
    named = ", ".join(f"{labels[key]} {_plain(value)}" for key, value in values.items()) or "all points"
    parts = []
    for suite in _last(points[0])[1]:
        found = [100 * _last(point)[1][suite]["accuracy"] for point in points if suite in _last(point)[1]]
        if len(found) > 1:
            parts.append(
                f"{suite} {statistics.mean(found):.1f} % +- {statistics.stdev(found):.1f} over {len(found)} seeds"
            )
    for stage in points[0].get("eval_loss") or {}:
        losses = [loss for point in points if (loss := (point.get("eval_loss") or {}).get(stage)) is not None]
        if len(losses) > 1:
            spread = f"{statistics.mean(losses):.4g} +- {statistics.stdev(losses):.2g}"
            parts.append(f"{stage} eval_loss {spread} over {len(losses)} seeds")
    return f"{named}: {'; '.join(parts) or 'nothing measured'}"
