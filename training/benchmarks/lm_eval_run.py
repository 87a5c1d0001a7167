"""A benchmark of lm-eval's tasks on a loaded model: rows by item, a rate with its standard error by task, the average.

Runs the harness's own model wrapper (HFLM), which sorts requests by length, on the model in memory, and its own
`evaluate` on each rank's share of the items. A finished task is kept under the hash of model, task, rows, shots and
limit, so that an interrupted evaluation goes on behind it and another run of the same model asks nothing again.
"""

import contextlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from data.errors import UserError
from training.benchmarks.identity import hub_commit, local_identity
from training.benchmarks.lm_eval_tasks import build_tasks, metric_of
from training.benchmarks.packages import package_version
from training.config.benchmarks import H6, LmEval
from training.context import StageContext
from training.decode import Decoder, mine
from training.estimates import mean_interval, mean_of
from training.identity import cache_root, fingerprint
from training.whole_text import write_whole
from training.world import gather

SEEDED = 1234  # the harness's own seed of examples


def run_lm_eval(
    context: StageContext, decoder: Decoder, name: str, block: LmEval
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return (metrics by score, rows by item) of every task; the average of the six is `NAME/h6` or `NAME/h6_like`."""
    lm: Any = None
    metrics: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for task in block.tasks:
        kept = cached_file(context, block, task)
        found = recall(context, kept)
        if found is None:
            lm = lm or harness_model(context, decoder, block.batch_size)
            with context.ledger.timing("evaluate"):
                found = ask(context, lm, name, block, task)
            if context.world.is_main:
                keep(kept, found)
        own = with_subjects(task, found["rows"])
        score = {**rate(own), **found["about"]}
        metrics[f"{name}/{task}"] = score
        rows += [{"suite": f"{name}/{task}", **row} for row in own]
        context.say(
            f"{name}/{task}: {score['metric']} {score['accuracy']:.3f} +- {score['stderr']:.3f} (n={score['n']})"
        )
    return metrics | average(name, metrics), rows


def harness_model(context: StageContext, decoder: Decoder, batch_size: int) -> Any:
    """The harness's wrapper around the model in memory; every batch tells the rank's state file that it lives."""
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    class Watched(HFLM):
        batches = 0

        def _model_call(self, *args: Any, **kwargs: Any) -> Any:
            self.beat()
            return super()._model_call(*args, **kwargs)

        def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
            self.beat()
            return super()._model_generate(*args, **kwargs)

        def beat(self) -> None:
            self.batches += 1
            context.state.update(phase="evaluate", step=self.batches)

    return Watched(pretrained=decoder.model, tokenizer=decoder.tokenizer, batch_size=batch_size)


def ask(context: StageContext, lm: Any, name: str, block: LmEval, task: str) -> dict[str, Any]:
    """Ask one task over all ranks; returns its rows in order and what they were asked with."""
    built = build_tasks(name, block, task, context.pin)
    made = built.tasks
    metric, wanted = metric_of(task, list(made.values()))
    own: list[dict[str, Any]] = []
    for part, each in made.items():
        own += asked(context, lm, part, each, block.limit, metric, wanted)
    places = {part: place for place, part in enumerate(made)}
    gathered = [row for share in gather(context.world, own) for row in share]
    first = next(iter(made.values()))
    about = {
        "metric": metric if wanted is None else f"{metric},{wanted}",
        "num_fewshot": first.config.num_fewshot or 0,
        "version": first.VERSION,
        "official": built.official,
        **({"examples_left_out": built.examples_left_out} if built.examples_left_out else {}),
    }
    return {"rows": sorted(gathered, key=lambda row: (places[row["family"]], row["number"])), "about": about}


def asked(
    context: StageContext, lm: Any, part: str, task: Any, limit: int | None, metric: str, wanted: str | None
) -> list[dict[str, Any]]:
    """This rank's items of one task object, as rows.

    Every rank writes the prompts of all items, since the harness draws examples in their order: so they do not depend
    on the number of ranks.
    """
    task.set_fewshot_seed(seed=SEEDED)
    task.build_all_requests(limit=limit, rank=0, world_size=1)
    total = len(task.eval_docs)
    own = set(mine(list(range(min(total, limit or total))), context.world.rank, context.world.size))
    task._instances = [each for each in task.instances if each.doc_id in own]
    by_kind: dict[str, list[Any]] = {}
    by_item: dict[int, list[Any]] = {}
    for each in task.instances:
        by_kind.setdefault(each.request_type, []).extend([each] * each.repeats)
        by_item.setdefault(each.doc_id, []).append(each)
    for kind, requests in by_kind.items():
        for request, answer in zip(requests, getattr(lm, kind)(requests, disable_tqdm=True), strict=True):
            request.resps.append(answer)
    if by_item:
        task.apply_filters()
    rows = []
    for number, requests in sorted(by_item.items()):
        requests.sort(key=lambda request: request.idx)
        chosen = wanted or next(iter(requests[0].filtered_resps))
        found = [request.filtered_resps[chosen] for request in requests]
        value = task.process_results(requests[0].doc, found).get(metric)
        rows.append(
            row_of(part, number, task.doc_to_target(requests[0].doc), requests[0].args[0], found, metric, value)
        )
    return rows


def row_of(
    part: str, number: int, target: Any, prompt: str, found: list[Any], metric: str, value: Any
) -> dict[str, Any]:
    """One item as a line of items.jsonl; `correct` is its value, a share where the metric is one (mc2)."""
    if value is None or not hasattr(value, "__float__") or math.isnan(value):
        raise UserError(f"{part}: {metric} of item {number} is {value!r}, and only means over items can be told")
    return {
        "item": f"{part}/{number}",
        "number": number,
        "family": part,
        "prompt": prompt,
        "answer": str(target),
        "completion": json.dumps(found, default=str),
        "correct": float(value),
        "format": None,
    }


def with_subjects(task: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """MMLU's rows with their subject, where the data name one; other tasks have none."""
    if task != "mmlu":
        return rows
    return [row if row["family"] == task else {**row, "subject": row["family"]} for row in rows]


def rate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over items with its 95 % interval and standard error; over subjects where rows have one.

    Each subject counts alike, as on the leaderboard; `n` counts items.
    """
    subjects: dict[str | None, list[float]] = {}
    for row in rows:
        subjects.setdefault(row.get("subject"), []).append(row["correct"])
    rates = [rate_of_items(values) for values in subjects.values()]
    return rates[0] if None in subjects else {**mean_rate(rates), "subjects": len(rates)}


def rate_of_items(values: Sequence[float]) -> dict[str, Any]:
    """The mean over items; its standard error is the sample deviation over the root of n, of one item alone 1."""
    mean, *ci95 = mean_interval(values)
    n = len(values)
    return {"accuracy": mean, "ci95": ci95, "n": n, "stderr": stdev(values) / math.sqrt(n) if n > 1 else 1.0}


def mean_rate(rates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of rates, each counting alike, with what follows from their intervals and standard errors."""
    mean, *ci95 = mean_of([(each["accuracy"], *each["ci95"]) for each in rates])
    error = math.hypot(*(each["stderr"] for each in rates)) / len(rates)
    return {"accuracy": mean, "ci95": ci95, "n": sum(each["n"] for each in rates), "stderr": error}


def average(name: str, metrics: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The mean of the leaderboard's six tasks, each counting alike; nothing where one of them is missing.

    It is called h6 where every task had its official rows, shots and all items, else h6_like.
    """
    six = [metrics.get(f"{name}/{task}") for task in H6]
    found = [each for each in six if each is not None]
    if len(found) < len(H6):
        return {}
    official = all(each["official"] and each["num_fewshot"] == H6[task] for task, each in zip(H6, found, strict=True))
    return {f"{name}/{'h6' if official else 'h6_like'}": {**mean_rate(found), "tasks": len(found)}}


def cached_file(context: StageContext, block: LmEval, task: str) -> Path:
    """Where a task's rows lie once it was asked: by the model and all that decides the score."""
    record = context.record_of(context.parent_name)
    data = block.local_data.get(task)
    key = {
        "model": record["files"],
        "template": record.get("template_sha256"),
        "task": task,
        "shots": block.shots(task),
        "limit": block.limit,
        "data": hub_commit(task, context.pin) if data is None else local_identity(data),
        "dtype": context.stage.dtype,
        "package": package_version("lm_eval"),
    }
    return cache_root() / "benchmarks" / f"{task}-{fingerprint(key)[:32]}.json"


def recall(context: StageContext, path: Path) -> dict[str, Any] | None:
    """A task's rows as they were kept, None where they were not: rank 0 reads, and every rank has what it found.

    So all ranks ask a task or none does, whatever lies in the caches of other nodes.
    """
    found = json.loads(path.read_text(encoding="utf-8")) if context.world.is_main and path.is_file() else None
    first: dict[str, Any] | None = gather(context.world, found)[0]
    return first


def keep(path: Path, found: dict[str, Any]) -> None:
    """Keep a task's rows for next time, whole or not at all; a cache that cannot be written only costs time."""
    with contextlib.suppress(OSError):
        write_whole(path, json.dumps(found))
