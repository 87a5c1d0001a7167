"""The text of a model card: what the model is, what it was made of, how it measured, and what people must add.

Everything is read from records, without the folders of the machine that made the model. What only people know (who it
is for, where it fails) is left as a marked place.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.model_card.licences import base_licence
from training.model_card.places import command_of, name_of, nameless
from training.model_card.recipe import ancestry, training_sources
from training.report.collect import RunView, StageView
from training.report.data_summary import account
from training.report.provenance import commands
from training.report.scale import percent
from training.summary import SuiteScore, Summary

SHOWN_PACKAGES = ("torch", "transformers", "trl", "peft")
NO_RECIPE = (
    "name",
    "kind",
    "from",
    "parent",
    "seed",
    "data",
    "health",
    "gate",
    "probe",
    "parity",
    "allow_template_change",
)
"""Keys of a stage that say where it stands or how it was watched, or that the card tells elsewhere."""
TO_FILL_IN = "*To be filled in by the people who publish this model.*"


def body(run: RunView, summary: Summary, stage: StageView) -> str:
    """The card below its YAML block, in Markdown."""
    parts = [
        f"# {run.name}/{stage.name}",
        _opening(run, stage),
        "## Intended use",
        TO_FILL_IN,
        "## Evaluation",
        _evaluation(run, summary, stage),
        "## Base model",
        _base(run),
        "## Training data",
        _data(run, stage),
        "## Recipe",
        _recipe(run, stage),
        "## How to load it",
        _loading(stage),
        "## Limits and risks",
        TO_FILL_IN,
        "## Lineage",
        _lineage(run, stage),
    ]
    return "\n\n".join(parts) + "\n"


def _opening(run: RunView, stage: StageView) -> str:
    steps = " \u2192 ".join(one.name for one in ancestry(run, stage))
    what = "A reward model" if stage.kind == "reward_model" else "A language model"
    return f"{what} made by [posttrain](#lineage) from `{_model(run)}`: {steps}."


def _model(run: RunView) -> str:
    """The model that the pipeline starts from, as its config names it; a folder by its name."""
    model, base = str(run.pipeline.get("model")), run.stage("base")
    identity = ((base.record or {}).get("identity") or {}).get("model") or {} if base else {}
    return Path(model).name if "files" in identity else name_of(model)


def _evaluation(run: RunView, summary: Summary, stage: StageView) -> str:
    """Accuracy and format rate of this model, its parent and the base, and the paired changes of this one."""
    wanted = dict.fromkeys(["base", *stage.parents[:1], stage.name])
    rows = [row for row in summary.rows if row.name in wanted and row.scores]
    if stage.name not in {row.name for row in rows}:
        return "This model has not been measured."
    cells = [[row.name, suite, *_score(score)] for row in rows for suite, score in row.scores.items()]
    found = table(("model", "suite", "accuracy", "95 % interval", "questions", "format rate"), cells)
    changes = [one for one in (*summary.over_base, *summary.comparisons) if one.model == stage.name]
    lines = [f"- {words}" for words in dict.fromkeys(one.words for one in changes)]
    how = (
        "Accuracy is the share of questions answered right under greedy decoding, read by one lenient extractor for "
        "every model, with Wilson intervals. Changes are paired on the same questions."
    )
    return "\n\n".join(part for part in (found, "\n".join(lines), how) if part)


def _base(run: RunView) -> str:
    base = run.stage("base")
    record = (base.record if base else None) or {}
    source = dict((record.get("identity") or {}).get("model") or {})
    files = source.pop("files", None)
    facts = [f"- {key}: `{value}`" for key, value in source.items()]
    facts += [f"- a local folder of {len(files)} files; the record of `00-base` has their hashes"] if files else []
    licence = base_licence(run) or "not known to posttrain; see the base model's own card"
    return "\n".join([f"- model: `{_model(run)}`", *facts, f"- licence: {licence}"])


def _data(run: RunView, stage: StageView) -> str:
    sources = training_sources(run, stage)
    if not sources:
        return "No stage of this model read rows."
    rows = [[one.name, source_in_words(source), licence_in_words(source)] for one, source in sources]
    accounts = [
        [one.name, *account(data), f"`{data.get('rows_sha256') or ''}`"]
        for one in ancestry(run, stage)
        if (data := (one.record or {}).get("data"))
    ]
    named = table(("stage", "source", "licence"), rows)
    return f"{named}\n\n{table(('stage', 'rows in', 'kept', 'dropped', 'sha256 of the rows kept'), accounts)}"


def source_in_words(source: dict[str, Any]) -> str:
    """Where rows came from, without the path of anybody's machine."""
    if source.get("hub"):
        return f"hub `{source['hub']}` at `{source.get('commit')}`"
    if source.get("generator"):
        families = ", ".join(source.get("families") or {})
        return f"`{source.get('package') or source['generator']}`: {families} (seed {source.get('seed')})"
    if source.get("path"):
        return f"file `{Path(str(source['path'])).name}`"
    if source.get("stage"):
        return f"rows that stage `{source['stage']}` left"
    return ", ".join(f"{key} {name_of(str(value))}" for key, value in source.items() if isinstance(value, str | int))


def licence_in_words(source: dict[str, Any]) -> str:
    """The licence of a source and who says so; rows made here and now have none of their own."""
    found = source.get("license")
    if isinstance(found, dict):
        return f"{found.get('name')} (from {found.get('from')})"
    if source.get("generator"):
        return "made by a program"
    return "made by an earlier stage" if source.get("stage") else "not known"


def _recipe(run: RunView, stage: StageView) -> str:
    made = [one for one in ancestry(run, stage) if one.kind not in ("base", "evaluate")]
    return "\n\n".join(_stage_recipe(one) for one in made)


def _stage_recipe(stage: StageView) -> str:
    record = stage.record or {}
    config = record.get("config") or stage.config
    shown = {key: value for key, value in config.items() if key not in NO_RECIPE and value not in (None, [], {}, False)}
    ledger = record.get("ledger") or {}
    head = f"**{stage.name}** ({stage.kind}, seed {record.get('seed')}, {ledger.get('wall_s') or 0:,.0f} s)"
    kept = record.get("kept_probe")
    best = f"\n\nThe model of step {kept['step']}, the best probe on {kept['suite']}." if kept else ""
    return f"{head}\n\n```json\n{json.dumps(nameless(shown), indent=2, ensure_ascii=False)}\n```{best}"


def _loading(stage: StageView) -> str:
    if stage.path("model/adapter_config.json").is_file():
        use = "from peft import AutoPeftModelForCausalLM\n\nmodel = AutoPeftModelForCausalLM.from_pretrained(folder)"
        return f"It is an adapter; `adapter_config.json` names the weights it belongs to.\n\n```python\n{use}\n```"
    kind = "SequenceClassification" if stage.kind == "reward_model" else "CausalLM"
    return (
        f"```python\nfrom transformers import AutoModelFor{kind}, AutoTokenizer\n\n"
        f"model = AutoModelFor{kind}.from_pretrained(folder)\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n```"
    )


def _lineage(run: RunView, stage: StageView) -> str:
    record = stage.record or {}
    rows = [[one.name, one.kind, f"`{one.fingerprint}`"] for one in ancestry(run, stage) if one.fingerprint is not None]
    weights = [f"- `{name}`: `{digest}`" for name, digest in record["files"].items() if name.endswith(".safetensors")]
    environment = record.get("environment") or {}
    packages = environment.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages)
    parts = [
        "A fingerprint names everything that went into a stage: config, data, parents, seeds. "
        "`posttrain lineage` on the stage's folder checks every file against the "
        "records, down to the base.",
        table(("stage", "kind", "fingerprint"), rows),
        "\n".join(["sha256 of the weights:", "", *weights]) if weights else "",
        f"Made with {versions} on {environment.get('device')}. To run it again:",
        "```bash\n" + "\n".join(command_of(line) for line in commands(run, environment)) + "\n```",
    ]
    return "\n\n".join(part for part in parts if part)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; what would end a cell is written so that it does not."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _score(score: SuiteScore) -> list[str]:
    low, high = score.ci95
    tidy = "" if score.format_rate is None else percent(score.format_rate)
    return [percent(score.accuracy), f"{percent(low)} to {percent(high)}", f"{score.n:,}", tidy]
