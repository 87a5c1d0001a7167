"""Stage kind `evaluate`: one model measured on held-out suites, greedily and, if asked, over k sampled draws.

Accuracy is judged by the one lenient extractor for every model, so that learning a format does not look like learning a
skill; the format rate is reported apart. items.jsonl keeps every answer: comparisons between models pair on its items.
"""

from typing import Any

from data.suites import suite_items
from training.config import EvaluateStage
from training.config.generalisation import NAME
from training.context import StageContext, StageResult
from training.decode import Decoder, Drawn, interleave, messages, mine, open_decoder
from training.estimates import maj_at_k, wilson_interval
from training.facts import tokenizer_facts
from training.generalisation import generalisation_items, generalisation_metrics
from training.generalisation_view import generalisation_lines
from training.identity import derived_seed
from training.json_lines import write_lines
from training.plan import data_seed
from training.questions import chosen_by, training_prompts
from training.rates import accuracy, by_family, lengths, mean_pass_at_k
from training.rewards import REWARDS
from training.rollout import Sampling
from training.world import gather


def run(context: StageContext) -> StageResult:
    """Decode every suite's items, score them, leave items.jsonl and the rates with their 95 % intervals."""
    stage, world = context.stage, context.world
    taken = taken_prompts(context)
    items, replaced = suites_items(context, taken)
    apart, made = ([], {}) if stage.generalisation is None else generalisation_items(context, taken)
    context.ledger.begin()
    decoder = open_decoder(context, stage.dtype, stage.batch_size)
    context.say(asked_in_words(stage, len(items), len(apart)))
    rows = over_ranks(context, decoder, items, stage.draws)
    apart_rows = over_ranks(context, decoder, apart, 0)
    scores, benchmark_rows = benchmarks(context, decoder)
    if world.is_main:
        write_lines(context.folder / "items.jsonl", [*rows, *apart_rows, *benchmark_rows])
    metrics = {
        suite: {**suite_metrics([row for row in rows if row["suite"] == suite], stage), "replaced": replaced[suite]}
        for suite in stage.suites
    }
    for suite, found in metrics.items():
        low, high = found["ci95"]
        context.say(
            f"{suite}: accuracy {found['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}, n={found['n']}), "
            f"format {found['format_rate']:.3f}" + tools_words(found.get("tools"))
        )
    if apart:
        metrics[NAME] = generalisation_metrics(context, apart, apart_rows, made)
        for line in generalisation_lines(metrics[NAME]):
            context.say(line)
    metrics |= scores
    used = [{"name": name, "version": REWARDS[name].version, "weight": 1.0} for name in ("answer", "format")]
    context.ledger.end_step()
    return StageResult(metrics, None, used, tokenizer_facts(decoder.tokenizer), ["items.jsonl"])


def asked_in_words(stage: EvaluateStage, items: int, apart: int) -> str:
    """Return for example "64 items in 2 suite(s), greedy and 4 draws; benchmarks code"."""
    drawn = f" and {stage.draws} draws" if stage.draws else ""
    parts = [f"{items} items in {len(stage.suites)} suite(s), greedy{drawn}"] if items else []
    parts += [f"{apart} of {NAME}"] if apart else []
    parts += [f"benchmarks {', '.join(stage.benchmarks)}"] if stage.benchmarks else []
    return "; ".join(parts)


def tools_words(found: dict[str, float] | None) -> str:
    """What a suite's line says of tools."""
    if found is None:
        return ""
    calls, failed = found["call_frequency"], found["failure_frequency"]
    return f", {calls:.2f} calls of tools an answer, {failed:.1%} of them failed"


def taken_prompts(context: StageContext) -> set[str]:
    """The normalised prompts that stages train on or choose by; none, unread, where nothing asked has to differ."""
    stage, suites = context.stage, context.pipeline.suites
    if stage.generalisation is None and not any(suites[name].exclude_training_prompts for name in stage.suites):
        return set()
    return training_prompts(context) | chosen_by(context)


def suites_items(context: StageContext, taken: set[str] | None = None) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """All items of all suites, those of `taken` (see taken_prompts) replaced; with the number replaced by suite."""
    pipeline = context.pipeline
    taken = taken_prompts(context) if taken is None else taken
    items: list[dict[str, Any]] = []
    replaced = {}
    for name in context.stage.suites:
        suite = pipeline.suites[name]
        excluded = taken if suite.exclude_training_prompts else set()
        found, count = suite_items(name, suite, data_seed(pipeline, name), excluded, context.pin)
        items += [{**item, "suite": name} for item in found]
        replaced[name] = count
        if count:
            context.say(f"{name}: {count} items that a stage trains on or chooses by were replaced by the next ones")
    return items, replaced


def benchmarks(context: StageContext, decoder: Decoder) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Metrics and rows of the benchmarks that the stage names; their packages are imported only then."""
    if not context.stage.benchmarks:
        return {}, []
    from training.benchmarks.run import run_benchmarks

    return run_benchmarks(context, decoder)


def over_ranks(
    context: StageContext, decoder: Decoder, items: list[dict[str, Any]], draws: int
) -> list[dict[str, Any]]:
    """All items measured, each by one rank, in their order."""
    if not items:
        return []
    own = mine(items, context.world.rank, context.world.size)
    return interleave(gather(context.world, measure(context, decoder, own, draws)))


def measure(context: StageContext, decoder: Decoder, items: list[dict[str, Any]], draws: int) -> list[dict[str, Any]]:
    """This rank's items with completion, correctness and format, greedy and drawn."""
    stage = context.stage
    prompts = [messages(item["prompt"], context.system) for item in items]
    greedy = decoder.draw(prompts, 1, Sampling(stage.max_completion_length, 0.0), seed=0)
    sampling = Sampling(stage.max_completion_length, stage.temperature, stage.top_p)
    seed = derived_seed(context.seed, f"draws:{context.world.rank}")
    drawn = decoder.draw(prompts, draws, sampling, seed) if draws else []
    with context.ledger.timing("reward"):
        correct = judge("answer", [draw.text for draw in greedy], items)
        formatted = judge("format", [draw.text for draw in greedy], items)
        repeated = [item for item in items for _ in range(draws)]
        draws_correct = judge("answer", [draw.text for draw in drawn], repeated)
    rows = []
    for place, (item, answer) in enumerate(zip(items, greedy, strict=True)):
        span = range(place * draws, (place + 1) * draws)
        rows.append(
            {
                "suite": item["suite"],
                "item": item["item"],
                "family": item.get("family"),
                "prompt": item["prompt"],
                "answer": item["answer"],
                "completion": answer.text,
                "correct": correct[place],
                "format": formatted[place],
                "tokens": answer.tokens,
                "truncated": answer.truncated,
                "draws": [{"completion": drawn[i].text, "correct": draws_correct[i]} for i in span],
                **called(answer),
                **({"stages": item["stages"]} if "stages" in item else {}),
            }
        )
    return rows


def called(answer: Drawn) -> dict[str, Any]:
    """What an item's row says of the calls of tools in its greedy answer; nothing where there are no tools."""
    if answer.exchange is None:
        return {}
    exchange = answer.exchange
    return {"exchange": exchange.transcript, "calls": exchange.calls, "failed_calls": exchange.failed}


def judge(reward: str, completions: list[str], items: list[dict[str, Any]]) -> list[int]:
    """1 where the shipped reward gives full marks, else 0; an exception in it is a bug and travels."""
    columns: dict[str, list[Any]] = {name: [item.get(name) for item in items] for name in ("answer", "family")}
    scores = REWARDS[reward].function(completions, [item["prompt"] for item in items], **columns)
    return [int(score == 1.0) for score in scores]


def suite_metrics(rows: list[dict[str, Any]], stage: Any) -> dict[str, Any]:
    """Rates of one suite with Wilson intervals, by family as well, and the sampled measures."""
    n, formatted = len(rows), sum(row["format"] for row in rows)
    metrics: dict[str, Any] = {
        **accuracy(rows),
        "format_rate": formatted / n,
        "format_ci95": list(wilson_interval(formatted, n)),
        **lengths(rows),
        **by_family(rows),
    }
    if stage.tools:
        calls, failed = sum(row["calls"] for row in rows), sum(row["failed_calls"] for row in rows)
        metrics["tools"] = {"call_frequency": calls / n, "failure_frequency": failed / calls if calls else 0.0}
    if stage.draws:
        metrics["sampled"] = sampled_metrics(rows, stage)
    return metrics


def sampled_metrics(rows: list[dict[str, Any]], stage: Any) -> dict[str, Any]:
    """pass@k by the unbiased estimator (Chen 2021, eq. 1) and maj@k over the draws, averaged over items."""
    from training.rewards.answer import extract

    measures: dict[str, Any] = {"draws": stage.draws, "temperature": stage.temperature, "top_p": stage.top_p}
    for k in sorted({1, *stage.k}):
        measures[f"pass@{k}"] = mean_pass_at_k(rows, stage.draws, k)
        if k > 1:
            votes = [
                maj_at_k([(extract(d["completion"], row["answer"]), d["correct"]) for d in row["draws"]], k)
                for row in rows
            ]
            measures[f"maj@{k}"] = sum(votes) / len(rows)
    return measures
