"""The work that is compared, and the three ways to do it: ours, TRL at equal settings, TRL as documented."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

MODEL = "bundled:smollm2-135m-instruct"
STAGE = "timed"
FAMILIES = {
    "chain_sum": {"min_terms": 2, "max_terms": 3},
    "leg_counting": {"min_animals": 1, "max_animals": 3},
    "gcd": {"min_value": 2, "max_value": 60},
}
SYSTEM = "Give the final answer as <answer>...</answer>."
LIMITS = {"sft": 512, "dpo": 64}  # a precomputed reference pass goes over all rows
Way = Literal["ours", "equal", "documented"]


@dataclass(frozen=True)
class Case:
    """One kind of step. `batch` counts rows, pairs or completions of an optimizer step; `length` is the limit of a row
    in tokens, for GRPO of a completion; `reward` names one of `benchmarks.against_trl.signals`."""

    name: str
    kind: Literal["sft", "dpo", "grpo"]
    batch: int
    micro_batch: int
    length: int
    reward: str = ""
    draws: int = 8
    ranks: int = 2

    def trainer(self) -> dict[str, Any]:
        """What both sides give the TRL config of their kind."""
        shared: dict[str, Any] = {"max_steps": 1000, "learning_rate": 1e-6}
        if self.kind == "grpo":
            limits = {"num_generations": self.draws, "max_completion_length": self.length, "shuffle_dataset": False}
            return shared | limits
        return shared | {"max_length": self.length}

    def pipeline(self, rows: Path) -> dict[str, Any]:
        """Our pipeline: one stage, float32, no activation checkpointing, a rank for each core."""
        trainer = self.trainer() | {"bf16": False, "gradient_checkpointing": False}
        stage: dict[str, Any] = {"name": STAGE, "kind": self.kind, "batch_size": self.batch, "trainer": trainer}
        stage["data"] = {"path": str(rows)}
        if self.kind == "dpo":
            trainer["precompute_ref_log_probs"] = True
        if self.kind == "grpo":
            own = f"benchmarks.against_trl.signals:{self.reward}"
            stage["rewards"] = [{"name": self.reward, "callable": own, "version": 1}]
        runtime = {"processes": self.ranks, "micro_batch_size": self.micro_batch, "checkpoint_every": None}
        return {"name": self.name, "model": MODEL, "stages": [stage], "runtime": runtime}

    def spec(self, way: Way, model: Path, rows: Path, folder: Path) -> dict[str, Any]:
        """TRL's side. As documented: its defaults, which are bf16 and activation checkpointing, in one process."""
        arguments: dict[str, Any] = self.trainer() | {"output_dir": str(folder / way), "report_to": [], "use_cpu": True}
        arguments |= {"logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, "bf16": way == "documented"}
        if way == "equal":
            arguments["per_device_train_batch_size"] = self.micro_batch
            arguments["gradient_accumulation_steps"] = self.batch // (self.micro_batch * self.ranks)
            arguments |= {"gradient_checkpointing": False, "ddp_find_unused_parameters": False}
            if self.kind == "dpo":
                arguments["precompute_ref_log_probs"] = True
        elif self.kind == "grpo":  # TRL's micro-batch of 8, accumulated to the same batch
            arguments["gradient_accumulation_steps"] = self.batch // 8
        return {
            "kind": self.kind,
            "model": str(model),
            "rows": str(rows),
            "arguments": arguments,
            "reward": self.reward,
        }


CASES = [
    Case("grpo-16x96", "grpo", 16, 8, 96, "always"),
    Case("grpo-16x96-half", "grpo", 16, 8, 96, "half", draws=4),
    Case("grpo-64x256", "grpo", 64, 8, 256, "always"),
    Case("sft", "sft", 16, 2, 512),
    Case("dpo", "dpo", 8, 1, 768),
]


def prompts(count: int = 384) -> Iterator[dict[str, Any]]:
    """Questions of three families, every other one `quiet`: without signal under the reward `half`."""
    from data.without_compiler import import_reasoning_gym

    reasoning_gym = import_reasoning_gym()
    made = [reasoning_gym.create_dataset(name, seed=3, size=count, **params) for name, params in FAMILIES.items()]
    for number in range(count):
        question = made[number % len(made)][number]["question"]
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        yield {"prompt": messages, "quiet": number // 2 % 2 == 0}


def whole_rows(rows: Iterable[dict[str, Any]], length: int) -> Iterator[dict[str, Any]]:
    """The rows that no trainer cuts: each of their answers ends within `length` tokens of the model's template."""
    from training.bundled import materialise
    from training.models import load_tokenizer

    tokenizer = load_tokenizer(materialise(MODEL.removeprefix("bundled:")))
    for row in rows:
        answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        whole = [tokenizer.apply_chat_template(row["prompt"] + answer, tokenize=False) for answer in answers]
        if all(len(tokenizer(text)["input_ids"]) <= length for text in whole):
            yield row


def write_rows(case: Case, source: Path | None, folder: Path) -> Path:
    """Write the rows that both sides read, in TRL's columns; SFT and DPO take them from `source`, any known format."""
    from data.files import read_rows
    from data.formats.convert import to_preference, to_sft

    if case.kind == "grpo":
        rows = list(prompts())
    else:
        assert source is not None
        convert = to_sft if case.kind == "sft" else to_preference
        columns = ("prompt", "completion", "chosen", "rejected")
        rows = [{name: row[name] for name in columns if name in row} for row in convert(read_rows(source))]
        rows = list(islice(whole_rows(rows, case.length), LIMITS[case.kind]))
    path = folder / f"{case.name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
