"""docs/config.md: every key of the pipeline file, generated from the schema.

Write it anew with `python -m training.config.docs > docs/config.md`; a test compares the file with this rendering.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

from training.config.health import DETECTOR_BLOCKS, HEALTH_BLOCKS
from training.config.schema_words import accepted, raw_schema, resolved
from training.config.stages import STAGE_CLASSES, ModelStage, StageBase
from training.config.trainer_fields import CLASSES, CONFIG_CLASSES, FieldInfo, Refused, fields

_INTRODUCTION = """\
# The pipeline file

One YAML file describes a pipeline. This page lists every key and is generated from the schema
(`python -m training.config.docs > docs/config.md`); `posttrain schema` prints the same as JSON Schema for editors.

- YAML 1.2: `1e-4` is a number, `no` is text, `010` is ten. A key may stand only once.
- Values are strict: `"8"` is not a number. `null` stands for "none" where the table says so.
- Paths are relative to the working directory.
- Any key can be overridden on the command line with `key.path=value`; a stage is addressed by its name
  (`stages.grpo.trainer.max_steps=20`), an item of another list by its name or its index.
- A key in bold must be given. Unknown keys are refused."""
_BLOCKS = (
    (
        "EvaluateBlock",
        "`evaluate`",
        "Expands into `evaluate-base` and, after each stage X that leaves a model, `evaluate-X`.",
    ),
    (
        "Generalisation",
        "`evaluate.generalisation`",
        "[evaluation.md](evaluation.md#does-it-generalise-or-recall) tells what is asked.",
    ),
    ("Suite", "`suites.NAME`", ""),
    ("Benchmark", "`benchmarks.NAME`", "[benchmarks.md](benchmarks.md) shows it at work."),
    ("LmEval", "`benchmarks.NAME.lm_eval`", ""),
    ("LocalData", "`benchmarks.NAME.lm_eval.local_data.TASK`", ""),
    ("HumanEval", "`benchmarks.NAME.human_eval`", ""),
    ("Exercises", "`benchmarks.NAME.exercises`", ""),
    (
        "DataBlock",
        "`data`",
        'Exactly one of generator, path, hub, callable, stage, mix. `data: "stage:NAME"` is short for `{stage: NAME}`.',
    ),
    ("Generator", "`data.generator`", ""),
    (
        "MixPart",
        "`data.mix[]`",
        "Beside what a data block has ([data_cleaning.md](data_cleaning.md)).",
    ),
    ("Decontaminate", "`data.decontaminate`", "[data_cleaning.md](data_cleaning.md) tells the rule."),
    ("Difficulty", "`data.difficulty`", "[making_data.md](making_data.md#difficulty) shows it at work."),
    ("Validation", "`data.validation`", ""),
    (
        "RewardSpec",
        "`rewards[]`",
        "A plain name is short for `{name: NAME}`; a reward's parameters may stand beside its name.",
    ),
    ("ToolSpec", "`tools[]`", "Of grpo, sft, evaluate and probe; a plain string is its name ([tools.md](tools.md))."),
    (
        "EnvironmentSpec",
        "`environment`",
        "Of a grpo stage; a plain string is its name ([tools.md](tools.md#environments)).",
    ),
    ("RewardModelScore", "`reward_model`", "Of a sample or grpo stage; a plain string is its model."),
    ("Judge", "`judge`", "Of a sample or grpo stage ([making_data.md](making_data.md#scoring))."),
    ("Lora", "`lora`", ""),
    ("Gate", "`gate`", ""),
    ("Probe", "`probe`", "[health.md](health.md#probes) shows it at work."),
    ("DynamicSampling", "`dynamic_sampling`", "Of a grpo stage ([health.md](health.md#dynamic-sampling))."),
    ("Parity", "`parity`", "Of a grpo stage ([health.md](health.md#parity))."),
    *(
        (block.__name__, f"`health` of kind {kind}", "[health.md](health.md) shows it at work.")
        for kind, block in HEALTH_BLOCKS.items()
    ),
    *(
        (block.__name__, f"`health.{name}`", "A plain policy is short for `{policy: ...}`.")
        for name, block in DETECTOR_BLOCKS.items()
    ),
    ("Runtime", "`runtime`", "Nothing here enters a fingerprint: a change redoes no stage."),
    ("Vllm", "`runtime.vllm`", "[rollout_backends.md](rollout_backends.md) shows it at work."),
    ("Profile", "`runtime.profile`", "[watching.md](watching.md#profiling) shows it at work."),
    ("MicroBatches", "`runtime.micro_batch_size`", "Or one number for every kind."),
    ("Slurm", "`runtime.slurm`", "[slurm.md](slurm.md) shows it at work."),
    ("Container", "`runtime.slurm.container`", ""),
)


def render() -> str:
    """Return docs/config.md."""
    blocks = raw_schema()["$defs"]
    parts = [_INTRODUCTION, "## Top level", _table(raw_schema())]
    parts += ["## Every stage", str(StageBase.__doc__), _table(StageBase.model_json_schema(), without=("parent",))]
    common = set(StageBase.model_json_schema()["properties"])
    training = ModelStage.model_json_schema()["properties"]
    model_keys = [name for name in training if name not in common]
    parts += [
        "## Training stages: pretrain, sft, dpo, grpo, reward_model",
        f"{ModelStage.__doc__} A reward model has no gate.",
    ]
    parts += [_table(blocks["SftStage"], only=model_keys)]
    for kind, stage_class in STAGE_CLASSES.items():
        described = common if kind not in CONFIG_CLASSES else common | set(model_keys)
        keys = [name for name in blocks[stage_class.__name__]["properties"] if name not in described]
        parts += [f"## kind: {kind}", cleandoc(str(stage_class.__doc__))]
        parts += [_table(blocks[stage_class.__name__], only=keys)] if keys else []
    for name, title, note in _BLOCKS:
        inherited = blocks["DataBlock"]["properties"] if name == "MixPart" else ()
        own = [key for key in blocks[name]["properties"] if key not in inherited]
        parts += [f"## {title}", " ".join(filter(None, [blocks[name]["description"], note]))]
        parts += [_table(blocks[name], only=own)]
    parts += list(_trainer_parts())
    return "\n\n".join(parts) + "\n"


def _table(block: dict[str, Any], only: list[str] | None = None, without: tuple[str, ...] = ()) -> str:
    rows = ["| key | accepted | default | meaning |", "|---|---|---|---|"]
    required = block.get("required", [])
    for name, schema in block["properties"].items():
        if name in without or (only is not None and name not in only):
            continue
        key = f"**{name}**" if name in required else name
        cells = [key, accepted(schema), _default_text(schema, name in required), schema.get("description", "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _default_text(schema: dict[str, Any], required: bool) -> str:
    if required:
        return ""
    if "default" in schema:
        return f"`{json.dumps(schema['default'])}`"
    return "`[]`" if resolved(schema).get("type") == "array" else "`{}`"


def _trainer_parts() -> Iterator[str]:
    """The fields of the four TRL configs: what is part of the experiment, what is not, what is refused."""
    yield "## `trainer`"
    yield (
        "Fields of the installed `trl.SFTConfig`, `trl.DPOConfig`, `trl.GRPOConfig` and `trl.RewardConfig` by their "
        "own names; TRL's documentation gives their meaning. A change to an **identity** field makes another "
        "experiment and redoes the stage and what follows; a change to a *neutral* one redoes nothing."
    )
    by_kind = {kind: fields(kind) for kind in CONFIG_CLASSES}
    names = sorted(name for name in set().union(*by_kind.values()) if not isinstance(CLASSES[name], Refused))
    rows = ["| field | kinds | type | default | class |", "|---|---|---|---|---|"]
    for name in names:
        infos = {kind: known[name] for kind, known in by_kind.items() if name in known}
        rows.append(_trainer_row(name, infos))
    yield "\n".join(rows)
    yield "### Refused in `trainer`"
    rows = ["| fields | why, and what to write |", "|---|---|"]
    for reason in dict.fromkeys(each.reason for each in CLASSES.values() if isinstance(each, Refused)):
        refused = [name for name, each in CLASSES.items() if isinstance(each, Refused) and each.reason == reason]
        rows.append(f"| {', '.join(f'`{name}`' for name in refused)} | {reason} |")
    yield "\n".join(rows)


def _trainer_row(name: str, infos: dict[str, FieldInfo]) -> str:
    types = " or ".join(dict.fromkeys(info.type_text for info in infos.values())).replace("|", "\\|")
    defaults = dict.fromkeys(info.default_text for info in infos.values())
    if len(defaults) == 1:
        default_text = f"`{next(iter(defaults))}`"
    else:
        default_text = ", ".join(f"{kind} `{info.default_text}`" for kind, info in infos.items())
    treatment = "**identity**" if CLASSES[name] == "identity" else "*neutral*"
    return f"| `{name}` | {', '.join(infos)} | {types} | {default_text} | {treatment} |"


if __name__ == "__main__":
    print(render(), end="")
