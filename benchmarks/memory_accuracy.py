"""Predicted against measured peak memory of real stages on this machine's CPU: the table in docs/plan.md.

    .venv/bin/python -m benchmarks.memory_accuracy [--only TEXT] [--keep FOLDER]

Each case trains one stage of two or three optimizer steps through `posttrain run` and reads `peak_memory_gb` of every
rank from its record (the resident set's peak). The ranks of a case are summed. Rows are cut at `max_length`, so their
width is known exactly. About a minute a case on two cores; a case whose record is in FOLDER already is not run again.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.real_stages import kept_folder, launch, record_path, write_rows
from training.estimate.known_models import find_config
from training.estimate.memory import Memory, memory
from training.estimate.shape import shape_of
from training.estimate.workload import Adapters, Workload

SMOL, TINY = "bundled:smollm2-135m-instruct", "bundled:tiny-random"


@dataclass(frozen=True)
class Case:
    """One stage. `length` is the width of a training row, for GRPO the longest completion."""

    kind: Literal["sft", "dpo", "grpo"]
    length: int
    model: str = SMOL
    ranks: int = 1
    zero_stage: int = 0
    micro_batch: int = 2
    accumulation: int = 2
    checkpointing: bool = False
    bf16: bool = False
    eager: bool = False
    precomputed: bool = False
    lora: int | None = None

    @property
    def name(self) -> str:
        """What is special about the case, usable as a pipeline name."""
        words = [self.kind, "tiny" if self.model == TINY else "smol", f"{self.micro_batch}x{self.length}"]
        words += [f"{self.ranks}r"] if self.ranks > 1 else []
        words += [f"z{self.zero_stage}"] if self.zero_stage else []
        words += [word for word in ("checkpointing", "bf16", "eager", "precomputed") if getattr(self, word)]
        words += [f"lora{self.lora}"] if self.lora else []
        return "-".join(words)


_SFT, _DPO, _GRPO = Case("sft", 256), Case("dpo", 256), Case("grpo", 64, micro_batch=8)
CASES = [
    _SFT,
    replace(_SFT, length=512),
    replace(_SFT, length=1024, micro_batch=1),
    replace(_SFT, length=1024, checkpointing=True),
    replace(_SFT, micro_batch=4, checkpointing=True),
    replace(_SFT, length=512, eager=True),
    replace(_SFT, bf16=True, length=64, micro_batch=1),
    replace(_SFT, lora=16),
    replace(_SFT, lora=16, length=512),
    replace(_SFT, ranks=2),
    replace(_SFT, ranks=2, zero_stage=2),
    replace(_SFT, ranks=2, zero_stage=2, length=512, checkpointing=True),
    replace(_SFT, zero_stage=0, model=TINY),
    _DPO,
    replace(_DPO, length=512, micro_batch=1, checkpointing=True),
    replace(_DPO, precomputed=True),
    replace(_DPO, ranks=2),
    _GRPO,
    replace(_GRPO, length=128, checkpointing=True),
    replace(_GRPO, ranks=2),
    replace(_GRPO, model=TINY),
]


def write_pipeline(case: Case, folder: Path) -> Path:
    """Write the pipeline of a case and its rows."""
    data = write_rows(folder, case.kind, (f"Count on from {number}." for number in range(32)))
    batch = case.micro_batch * case.accumulation * case.ranks
    trainer: dict[str, Any] = {"max_steps": 2, "gradient_checkpointing": case.checkpointing, "bf16": case.bf16}
    stage: dict[str, Any] = {"name": "measured", "kind": case.kind, "batch_size": batch, "data": {"path": str(data)}}
    if case.kind == "grpo":
        trainer |= {"num_generations": 8, "max_completion_length": case.length}
        stage["rewards"] = [{"name": "length", "max_length": 64, "buffer": 64, "unit": "characters"}]
    else:
        trainer["max_length"] = case.length
    if case.precomputed:
        trainer["precompute_ref_log_probs"] = True
    stage |= {"trainer": trainer} | ({"attention": "eager"} if case.eager else {})
    stage |= {"lora": {"r": case.lora}} if case.lora else {}
    runtime = {"processes": case.ranks, "zero_stage": case.zero_stage, "micro_batch_size": case.micro_batch}
    runtime |= {"runs_dir": str(folder / "runs"), "checkpoint_every": None}
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps({"name": case.name, "model": case.model, "stages": [stage], "runtime": runtime}))
    return path


def record_of(case: Case, folder: Path) -> dict[str, Any]:
    """Run the case unless its record is there, and return the record of its stage."""

    def run() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        launch("run", str(write_pipeline(case, folder)))

    return json.loads(record_path(folder, "measured", run).read_text())


def measured_gb(record: dict[str, Any]) -> float:
    """The ranks' peaks together, in GB of 1e9 bytes."""
    return sum(record["ledger"]["peak_memory_gb"])


def predicted(case: Case) -> Memory:
    """What the planner says of one rank."""
    reference: Any = "none"
    if case.kind == "dpo":
        reference = "precomputed" if case.precomputed else "adapter_off" if case.lora else "copy"
    prompt = PROMPT_TOKENS[case.model]
    width = case.length + (prompt if case.kind == "grpo" else 0)
    workload = Workload(
        kind=case.kind,
        device="cpu",
        ranks=case.ranks,
        zero_stage=case.zero_stage,
        micro_batch=case.micro_batch,
        accumulation=case.accumulation,
        sequence_length=width,
        prompt_length=prompt,
        completion_length=case.length,
        generation_rows=case.micro_batch * case.accumulation if case.kind == "grpo" else 0,
        compute_dtype="bfloat16" if case.bf16 else "float32",
        checkpointing=case.checkpointing,
        attention="eager" if case.eager else "sdpa",
        lora=Adapters(case.lora) if case.lora else None,
        reference=reference,
        trained_share=(width - prompt) / width,
        contexts=contexts(case),
    )
    return memory(shape_of(find_config(case.model)), workload)


def contexts(case: Case) -> int | None:
    """Prompts of a micro-batch, which holds one group; on several ranks the end of another may come in."""
    return None if case.kind != "grpo" or case.checkpointing else min(case.micro_batch, 1 + (case.ranks > 1))


PROMPT_TOKENS = {SMOL: 38, TINY: 62}
"""Tokens of "Count on from 10." in each model's chat template."""


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cases whose name contains TEXT")
    parser.add_argument("--keep", type=Path, help="folder of the runs; those finished there are not repeated")
    arguments = parser.parse_args()
    print("| Case | Ranks | Predicted, GB | Measured, GB | Error | Largest phase |\n|---|---|---|---|---|---|")
    with kept_folder(arguments.keep) as folder:
        for case in CASES:
            if arguments.only in case.name:
                record = record_of(case, folder / case.name)
                estimate, real = predicted(case), measured_gb(record)
                said = case.ranks * estimate.peak / 1e9
                cells = [case.name, str(case.ranks), f"{said:.2f}", f"{real:.2f}", f"{said / real - 1:+.0%}"]
                print(f"| {' | '.join([*cells, estimate.peak_phase.name])} |", flush=True)


if __name__ == "__main__":
    main()
