"""`posttrain data`: every stage's rows examined without a run, as far as they can be read here and now.

What cannot be read yet (rows of a `sample` stage that has not run, hub data without a network) is said, not guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data.accounting import Account, Rows
from data.contamination import Rule, contaminated
from data.doctor.examination import Examination
from data.errors import UserError
from training.base import locate_model
from training.cleaning import segments, suite_references
from training.config import TRAINING_KINDS, Pipeline
from training.config.data_cleaning import Decontaminate, against_suites
from training.data_doctor import SAMPLE_ROWS, examine_rows, refusal
from training.mixture import findings_by_source
from training.models import load_tokenizer
from training.pins import Pins
from training.plan import RunPlan, data_seed
from training.plan_sample import drawn_from_parent
from training.record import read_record
from training.rows import rows_in_limits
from training.template_findings import template_findings
from training.trainer_args import build_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KINDS = (*TRAINING_KINDS, "sample")


@dataclass
class StageDiagnosis:
    """What the doctor says about one stage: `found` is None where its rows could not be read, for the `reason` given.

    `refusal` is why training on them would not start.
    """

    name: str
    kind: str
    source: str
    reason: str = ""
    rows_in: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    found: Examination | None = None
    findings: dict[str, str] = field(default_factory=dict)
    refusal: str | None = None
    accounts: list[Account] = field(default_factory=list)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)


def diagnose(
    pipeline: Pipeline, plan: RunPlan, only: str | None = None, previews: int = 0, sample: int | None = None
) -> Iterator[tuple[StageDiagnosis, "PreTrainedTokenizerBase"]]:
    """Yield each stage's diagnosis with the tokenizer that made its tokens; `sample` looks at so many rows, spread.

    A stage named by `only` must be readable: its UserError travels.
    """
    stages: list[Any] = [stage for stage in pipeline.stages if stage.kind in KINDS and only in (None, stage.name)]
    if only is not None and not stages:
        names = ", ".join(stage.name for stage in pipeline.stages if stage.kind in KINDS) or "none, no stage has data"
        raise UserError(f"--stage {only}: no stage of this name has data; choose one of {names}")
    for stage in stages:
        model = locate_model(getattr(stage, "model", None) or pipeline.model, Pins(plan.pins, pipeline.offline))
        tokenizer = load_tokenizer(model, template_in_use(pipeline, stage))
        diagnosis = StageDiagnosis(stage.name, stage.kind, stage_source(stage.data))
        diagnosis.findings = template_findings(tokenizer)
        try:
            examine_one(pipeline, plan, stage, diagnosis, tokenizer, model, previews, sample)
        except UserError as error:
            if only is not None:
                raise
            diagnosis.reason = str(error)
        yield diagnosis, tokenizer


def examine_one(
    pipeline: Pipeline,
    plan: RunPlan,
    stage: Any,
    diagnosis: StageDiagnosis,
    tokenizer: "PreTrainedTokenizerBase",
    model: Path,
    previews: int,
    sample: int | None,
) -> None:
    """Fill in what a stage's rows show; UserError where they cannot be read or used."""
    for waits_for in stage.data.stages:
        if read_record(plan[waits_for].folder) is None:
            raise UserError(f"its rows are made by stage {waits_for}, which has not run; they are examined when it has")
    system = stage.system if stage.system is not None else pipeline.system
    pins = Pins(plan.pins, pipeline.offline)
    usable = rows_in_limits(
        pipeline,
        stage,
        data_seed(pipeline, stage.name),
        system,
        tokenizer,
        lambda name: plan[name].folder,
        pins.dataset,
    )
    diagnosis.rows_in, diagnosis.dropped = usable.rows_in, usable.account.counts()
    diagnosis.accounts = [usable.account]
    rows, numbers = usable.rows, usable.numbers
    if sample is not None and len(rows) > sample:
        places = [place * len(rows) // sample for place in range(sample)]
        rows, numbers = [rows[place] for place in places], [numbers[place] for place in places]
    arguments = None
    if stage.kind != "sample":
        with TemporaryDirectory() as scratch:
            single = pipeline.runtime.model_copy(update={"zero_stage": 0})
            arguments = build_arguments(stage, single, pipeline.seed, Path(scratch))
    diagnosis.found = examine_rows(stage, rows, numbers, tokenizer, model, arguments, previews=previews)
    diagnosis.refusal = refusal(stage, diagnosis.found)
    if sample is None and stage.data.decontaminate is None and against_suites(Decontaminate(), pipeline.stages):
        places = contaminated_places(usable, pipeline, system, pins)
        if places:
            diagnosis.found.noted["contaminated"] = [usable.numbers[place] for place in places]
    if sample is None:
        diagnosis.sources = findings_by_source(usable, diagnosis.found)


def contaminated_places(usable: Rows, pipeline: Pipeline, system: str | None, pins: Pins) -> list[int]:
    """Indices of the rows that share n-grams with the suites of the pipeline, under the defaults of `decontaminate`."""
    block = Decontaminate()
    rule = Rule(block.ngram, block.short_ngram, block.overlap)
    matches = contaminated(segments(usable, system), suite_references(block, pipeline, pins.dataset), rule)
    return sorted({match.row for match in matches})


def check_samples(pipeline: Pipeline, plan: RunPlan) -> None:
    """Examine a few rows of every stage that can be read before the first one starts; UserError for the worst."""
    for diagnosis, _ in diagnose(pipeline, plan, sample=SAMPLE_ROWS):
        if diagnosis.refusal is not None:
            raise UserError(diagnosis.refusal)


def template_in_use(pipeline: Pipeline, stage: Any) -> str | None:
    """The chat template a stage's tokenizer has: its own, else that of the model it starts from, else the base's."""
    while stage is not None:
        if stage.chat_template is not None or not drawn_from_parent(stage):
            return stage.chat_template
        stage = next((earlier for earlier in pipeline.stages if earlier.name == stage.parent), None)
    return pipeline.chat_template


def stage_source(block: Any) -> str:
    """Where a stage's rows come from, for people."""
    if block.generator is not None:
        return f"{block.generator.name}: {', '.join(block.generator.families)}"
    return str(block.source_in_words)
