"""Writes a small made-up run folder in the record format, so that readers of runs are tested without training.

The numbers are drawn from one seed: SFT learns much on in_domain, DPO nothing measurable, GRPO a little, and nothing
changes on out_of_domain.
"""

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

from training.estimates import wilson_interval
from training.identity import fingerprint
from training.record import write_record

HOSTILE = '<script>fetch("http://example.invalid/")</script><img src=x onerror=alert(1)> & "quoted" \u2028 </pre>'
MODELS = ("base", "sft", "dpo", "grpo")
FAMILIES = {
    "in_domain": ("chain_sum", "letter_counting", "gcd", "number_sorting"),
    "out_of_domain": ("lcm", "basic_arithmetic", "leg_counting"),
}
ACCURACY = {
    "in_domain": {"base": 0.20, "sft": 0.62, "dpo": 0.63, "grpo": 0.80},
    "out_of_domain": {"base": 0.10, "sft": 0.09, "dpo": 0.10, "grpo": 0.11},
}
FORMAT = {"base": 0.02, "sft": 0.93, "dpo": 0.95, "grpo": 0.99}
PARENT = {"sft": "base", "pairs": "sft", "dpo": "sft", "grpo": "dpo"}
STAGES = ("base", "evaluate-base", "sft", "evaluate-sft", "pairs", "dpo", "evaluate-dpo", "grpo", "evaluate-grpo")
KIND = {"base": "base", "sft": "sft", "pairs": "sample", "dpo": "dpo", "grpo": "grpo"}
GATE = {"suite": "in_domain", "metric": "accuracy", "over": "parent", "min_gain": 0.0, "confidence": 0.95}
ENVIRONMENT = {
    "git_commit": "4d3c2b1a" * 5,
    "git_dirty_sha256": None,
    "packages": {"torch": "2.13.0", "trl": "1.16.0", "transformers": "5.23.0", "wandb": "0.31.0"},
    "python": "3.11.9",
    "platform": "Linux-6.1-x86_64",
    "cpu": "made-up 2-core CPU",
    "device": "cpu",
    "processes": 2,
    "threads_per_process": 1,
    "zero_stage": 2,
}


class FakeRun:
    """Writes the stages of a run in order; `finished` names the last stage that gets a record, None means all."""

    def __init__(self, run_dir: Path, items: int = 128, steps: int = 40, seed: int = 17) -> None:
        self.run_dir, self.items, self.steps = run_dir, items, steps
        self.draw = random.Random(seed)
        self.fingerprints: dict[str, str] = {}
        self.folders: dict[str, str] = {}
        self.skill = {suite: [self.draw.random() for _ in range(items)] for suite in ACCURACY}

    def write(self, finished: str | None = None, with_folders: bool = True) -> Path:
        """Write the run folder and return it; the stage after `finished` is left unfinished, the rest absent."""
        last = len(STAGES) if finished is None else STAGES.index(finished) + 1
        for index, name in enumerate(STAGES[: last + 1]):
            self._stage(index, name, finished=index < last)
        stages = [self._config(name) for name in STAGES[1:]]
        resolved: dict[str, Any] = {
            **{"name": "quickstart", "seed": 17, "model": "bundled:smollm2-135m-instruct", "stages": stages},
            **{"schema_version": 1, "command": "posttrain run configs/quickstart.yaml"},
            **{"runtime": {"processes": 2, "zero_stage": 2}, "config_path": "configs/quickstart.yaml", "overrides": []},
        }
        if with_folders:
            resolved["folders"] = {
                **{name: f"{i:02d}-{name}-{'0' * 8}" for i, name in enumerate(STAGES)},
                **self.folders,
            }
        (self.run_dir / "pipeline.resolved.json").write_text(json.dumps(resolved))
        return self.run_dir

    def _config(self, name: str) -> dict[str, Any]:
        if name.startswith("evaluate-"):
            model = name.removeprefix("evaluate-")
            return {"name": name, "kind": "evaluate", "parent": model, "suites": list(ACCURACY), "draws": 4}
        data: dict[str, Any] = {
            "generator": {"name": "reasoning_gym", "families": dict.fromkeys(FAMILIES["in_domain"])}
        }
        data = {"stage": "pairs"} if name == "dpo" else data
        gate = GATE if name in ("dpo", "grpo") else None
        trainer = {"learning_rate": 1e-4, "max_steps": self.steps}
        return {"name": name, "kind": KIND[name], "parent": PARENT[name], "batch_size": 32, "data": data} | (
            {"draws": 8} if name == "pairs" else {"trainer": trainer, "gate": gate}
        )

    def _parents(self, name: str) -> list[str]:
        if name == "base":
            return []
        config = self._config(name)
        return [config["parent"], *(["pairs"] if name == "dpo" else [])]

    def _stage(self, index: int, name: str, finished: bool) -> None:
        kind = KIND.get(name, "evaluate")
        parents = self._parents(name)
        identity = {"identity_version": 1, "kind": kind, "parents": [self.fingerprints[parent] for parent in parents]}
        identity |= {"experiment": {"name": name}}
        self.fingerprints[name] = fingerprint(identity)
        self.folders[name] = f"{index:02d}-{name}-{self.fingerprints[name][:8]}"
        folder = self.run_dir / self.folders[name]
        folder.mkdir(parents=True)
        metrics = self._leave_files(folder, name, kind, finished)
        if not finished:
            return
        record = {
            **{"schema_version": 1, "kind": kind, "stage": name, "pipeline": "quickstart"},
            **{"fingerprint": self.fingerprints[name], "identity": identity, "seed": 17, "files": {}},
            "parents": [
                {"stage": parent, "fingerprint": self.fingerprints[parent], "folder": self.folders[parent]}
                for parent in parents
            ],
            "config": {} if name == "base" else self._config(name),
            "data": self._data(kind),
            **{"template_sha256": "ab" * 32, "special_tokens": {"eos": "<|im_end|>"}, "rewards": []},
            **{"metrics": metrics, "ledger": self._ledger(kind), "interventions": [], "environment": ENVIRONMENT},
            "started_at": f"2026-11-22T10:{index:02d}:00+00:00",
            "finished_at": f"2026-11-22T10:{index:02d}:50+00:00",
        }
        if kind in ("sft", "dpo", "grpo"):
            (folder / "model").mkdir()
            (folder / "model" / "model.safetensors").write_bytes(name.encode())
            record["files"] = {"model/model.safetensors": hashlib.sha256(name.encode()).hexdigest()}
        write_record(folder, record)

    def _leave_files(self, folder: Path, name: str, kind: str, finished: bool) -> dict[str, Any]:
        if kind == "evaluate":
            return self._evaluate(folder, name.removeprefix("evaluate-")) if finished else {}
        if kind == "sample":
            rows = [self._pair(number) for number in range(6)]
            write_lines(folder / "data.jsonl", rows)
            return {"pairs": 6}
        if kind == "base":
            return {}
        steps = self.steps if finished else self.steps // 2
        write_lines(folder / "metrics.jsonl", [self._step(kind, step) for step in range(1, steps + 1)])
        write_lines(
            folder / "samples.jsonl", [self._sample(kind, step) for step in range(1, steps + 1) for _ in (0, 1)]
        )
        if kind == "grpo":
            message = "62% of the completions of 5 rounds are cut off"
            alarm = {
                "step": 12,
                "detector": "truncation",
                "policy": "warn",
                "message": message,
                "samples": [23, 24, 999],
            }
            write_lines(folder / "alarms.jsonl", [alarm | {"samples": [23, 24, 999]}])
        if kind == "sft":
            row = {"source": "reasoning_gym", "row": 7, "where": "reasoning_gym row 7", "reason": "prompt_too_long"}
            write_lines(folder / "dropped_rows.jsonl", [row | {"detail": "301 tokens"}])
        if not finished:
            with (folder / "metrics.jsonl").open("a") as sink:
                sink.write('{"step": 21, "lo')
        return {"train_loss": 0.5}

    def _step(self, kind: str, step: int) -> dict[str, Any]:
        done, noise = step / self.steps, self.draw.gauss(0, 1)
        timing = {"data": 0.05, "forward_backward": 2.0, "optimizer": 0.4, "log": 0.02, "unaccounted": 0.03}
        timing |= {"generate": 4.0 + noise / 4, "reward": 0.1} if kind == "grpo" else {}
        timing |= {"ref_logprobs": 0.9} if kind == "dpo" else {}
        row = {"step": step, "time": 1.7e9 + 3 * step, "loss": 2.0 * math.exp(-2 * done) + 0.08 * noise}
        row |= {"learning_rate": 1e-4 * (1 - done), "grad_norm": 1.0 + 0.1 * noise, "entropy": 1.2 - 0.5 * done}
        row |= {f"timing_s/{phase}": seconds for phase, seconds in timing.items()}
        row |= {"timing_s/step": sum(timing.values()), "rank/slowest": step % 2}
        row |= {"perf/tokens_per_s": 420 + 20 * noise, "perf/peak_memory_gb": 3.2}
        if kind == "sft":
            row |= {"mean_token_accuracy": 0.6 + 0.3 * done + 0.01 * noise}
        if kind == "dpo":
            row |= {"rewards/chosen": 0.2 * done + 0.02 * noise, "rewards/rejected": -0.6 * done + 0.02 * noise}
            row |= {"rewards/margins": 0.8 * done, "rewards/accuracies": 0.5 + 0.3 * done + 0.05 * noise}
            row |= {"logps/chosen": -40 - 5 * done, "logps/rejected": -42 - 12 * done}
        if kind == "grpo":
            row |= {"round": step, "reward": 0.9 + 0.4 * done + 0.08 * noise, "reward/answer": 0.6 + 0.3 * done}
            row |= {"reward/format": 0.9 + 0.09 * done, "reward_std": 0.4 - 0.2 * done, "kl": 0.02 * done}
            row |= {"frac_reward_zero_std": 0.3 + 0.4 * done, "completions/mean_length": 40 - 12 * done + noise}
            row |= {"completions/clipped_ratio": 0.1 - 0.08 * done, "loss": 0.01 * noise}
        return row

    def _sample(self, kind: str, step: int) -> dict[str, Any]:
        number = self.draw.randint(2, 99)
        completion = f"{number} + 4 = {number + 4}\n<answer>{number + 4}</answer>"
        row = {"step": step, "prompt": f"What is {number} + 4?", "completion": completion, "tokens": 24}
        right = self.draw.random() < step / self.steps
        row |= {"rewards": {"answer": float(right), "format": None if step == 1 else 1.0}, "truncated": False}
        return row | {"advantage": (1.0 if right else -1.0) if kind == "grpo" else None}

    def _pair(self, number: int) -> dict[str, Any]:
        say = [{"role": "user", "content": f"Count the r in 'str{'r' * number}'. {HOSTILE}"}]
        return {
            "prompt": say,
            "chosen": [{"role": "assistant", "content": f"<answer>{number + 1}</answer>"}],
            "rejected": [{"role": "assistant", "content": f"about {number + 3}? {HOSTILE}"}],
            **{"answer": str(number + 1), "chosen_reward": 2.0, "rejected_reward": 0.0},
        }

    def _evaluate(self, folder: Path, model: str) -> dict[str, Any]:
        rows = [self._item(suite, model, number) for suite in ACCURACY for number in range(self.items)]
        write_lines(folder / "items.jsonl", rows)
        return {suite: self._suite([row for row in rows if row["suite"] == suite]) for suite in ACCURACY}

    def _item(self, suite: str, model: str, number: int) -> dict[str, Any]:
        family = FAMILIES[suite][number % len(FAMILIES[suite])]
        correct = int(self.skill[suite][number] + self.draw.gauss(0, 0.04) < ACCURACY[suite][model])
        completion = f"so the answer is {number if correct else number + 1}"
        completion = f"{completion} {HOSTILE}" if number == 0 else completion
        row = {"suite": suite, "item": f"{suite}-{number}", "family": family, "prompt": f"{family} question {number}?"}
        row |= {"answer": str(number), "completion": completion, "correct": correct, "tokens": 20 + number % 9}
        row |= {"format": int(self.draw.random() < FORMAT[model]), "truncated": number % 16 == 0}
        return row | {"draws": [{"completion": completion, "correct": correct}] * 4}

    def _suite(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        n, right, tidy = len(rows), sum(row["correct"] for row in rows), sum(row["format"] for row in rows)
        share = right / n
        families: dict[str, dict[str, float]] = {}
        for family in sorted({row["family"] for row in rows}):
            own = [row["correct"] for row in rows if row["family"] == family]
            families[family] = {"accuracy": sum(own) / len(own), "n": len(own)}
        sampled = {"draws": 4, "temperature": 1.0, "top_p": 1.0, "pass@1": share, "pass@4": min(1, share + 0.1)}
        return {
            **{"accuracy": share, "ci95": list(wilson_interval(right, n)), "n": n},
            **{"format_rate": tidy / n, "format_ci95": list(wilson_interval(tidy, n))},
            **{"mean_tokens": sum(row["tokens"] for row in rows) / n, "truncated": 0.06, "families": families},
            "sampled": sampled | {"maj@4": share},
        }

    def _data(self, kind: str) -> dict[str, Any] | None:
        if kind in ("base", "evaluate"):
            return None
        source = {"generator": "reasoning_gym", "families": list(FAMILIES["in_domain"]), "rows": 1000, "seed": 17}
        return {
            **{"source": source, "rows_in": 1000, "rows_kept": 988, "dropped": {"prompt_too_long": 12}},
            "rows_sha256": "cd" * 32,
            "doctor": {
                **{"rows": 988, "flagged_rows": 0, "flagged": {}, "noted": {"duplicate": 8}, "limit": 256},
                "tokens": {"row": {"min": 59, "median": 67, "p95": 113, "max": 117, "sum": 66196}},
            },
        }

    def _ledger(self, kind: str) -> dict[str, Any]:
        if kind not in ("sft", "dpo", "grpo"):
            timing = {"generate": 20.0, "reward": 0.5} if kind in ("sample", "evaluate") else {}
            return {"wall_s": 25.0, "timing_s": timing, "overlap_s": {}, "peak_memory_gb": [1.1, 1.2]}
        timing = {"data": 2.0, "forward_backward": 80.0, "optimizer": 16.0, "log": 0.8, "checkpoint": 3.0}
        timing |= {"generate": 160.0, "reward": 4.0} if kind == "grpo" else {"ref_logprobs": 0.0}
        unaccounted = 0.01 * sum(timing.values())
        timing |= {"unaccounted": unaccounted, "step": sum(timing.values()) + unaccounted}
        return {"wall_s": timing["step"] + 12, "timing_s": timing, "overlap_s": {}, "peak_memory_gb": [3.1, 3.3]}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_fake_run(
    run_dir: Path, finished: str | None = None, with_folders: bool = True, items: int = 128, steps: int = 40
) -> Path:
    """Write a made-up run into `run_dir` and return it; `finished` names the last stage with a record (None: all)."""
    return FakeRun(run_dir, items, steps).write(finished, with_folders)
