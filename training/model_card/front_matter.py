"""The YAML block of a model card, as the hub reads it: licence, base model, data sets, and results with their n."""

import re
from typing import Any

from training.model_card.licences import base_licence, hub_licence_id
from training.model_card.recipe import ancestry, training_sources
from training.report.collect import RunView, StageView
from training.summary import Summary

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def front_matter(run: RunView, summary: Summary, stage: StageView) -> str:
    """The block's lines without the `---` around them; what is not known is left out."""
    from huggingface_hub import ModelCardData

    scores = stage.kind == "reward_model"
    adapter = stage.path("model/adapter_config.json").is_file()
    licence = hub_licence_id(base_licence(run))
    card = ModelCardData(
        license=licence,
        base_model=_hub_base(run),
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-classification" if scores else "text-generation",
        tags=["posttrain", "trl", *dict.fromkeys(one.kind for one in ancestry(run, stage) if one.trains)],
        datasets=_hub_datasets(run, stage) or None,
        model_name=f"{run.name}/{stage.name}",
        eval_results=_results(summary, stage) or None,
    )
    return str(card.to_yaml())


def _hub_base(run: RunView) -> str | None:
    """The hub's name of the base, if that is where it came from."""
    base = run.stage("base")
    found = ((base.record or {}).get("identity") or {}).get("model", {}).get("hub") if base else None
    return found if isinstance(found, str) and _HUB_ID.fullmatch(found) else None


def _hub_datasets(run: RunView, stage: StageView) -> list[str]:
    sources = [source for _, source in training_sources(run, stage)]
    return sorted({str(source["hub"]) for source in sources if source.get("hub")})


def _results(summary: Summary, stage: StageView) -> list[Any]:
    from huggingface_hub import EvalResult

    row = next((row for row in summary.rows if row.name == stage.name), None)
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=suite,
            dataset_name=suite,
            metric_type="accuracy",
            metric_value=round(score.accuracy, 4),
            metric_args={"n": score.n, "ci95": [round(bound, 4) for bound in score.ci95]},
        )
        for suite, score in (row.scores.items() if row else ())
    ]
