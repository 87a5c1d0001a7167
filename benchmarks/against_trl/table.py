"""What the benchmark prints: a ratio with its spread for each kind of work, and the machine it was taken on."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from training.environment import cpu_model

TABLE_HEAD = (
    "| Work | Baseline | Ours | TRL | Ratio: median (lowest-highest) | Memory, ours / TRL |\n|---|---|---|---|---|---|"
)


def rows_of_table(result: dict[str, Any]) -> list[str]:
    """One line for the step; for GRPO a second one for its rollout."""
    lines = [_line(result, "step", *_rates(result))]
    if result["kind"] == "grpo":
        lines.append(_line(result, "rollout", *_rollout_rates(result)))
    return lines


def _line(result: dict[str, Any], what: str, ours: list[float], theirs: list[float], unit: str) -> str:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    spread = f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
    memory = result["peak_memory_gb"]
    shown = f"{memory['ours']:.1f} / {memory[result['baseline']]:.1f} GB" if what == "step" else ""
    rates = [f"{median(rate):.3g} {unit}" for rate in (ours, theirs)]
    name = f"{result['case']} {what}"
    return f"| {' | '.join([name, result['baseline'], *rates, spread, shown])} |"


def _rates(result: dict[str, Any]) -> tuple[list[float], list[float], str]:
    """Work a second of each pair: trained tokens for SFT, pairs for DPO, steps a minute for GRPO."""
    if result["kind"] == "sft":
        return *_both(result, lambda side, step: step["num_tokens"] / step["seconds"]), "tokens/s"
    if result["kind"] == "dpo":
        return *_both(result, lambda side, step: _pairs_per_s(result, side, step)), "pairs/s"
    return *_both(result, lambda side, step: 60 / step["seconds"]), "steps/min"


def _pairs_per_s(result: dict[str, Any], side: str, step: dict[str, Any]) -> float:
    """A reference pass made before the first step is charged to each pair by its share."""
    reference_s = result["reference_s"][side] / result["rows"]
    return step["rows"] / (step["seconds"] + step["rows"] * reference_s)


def _rollout_rates(result: dict[str, Any]) -> tuple[list[float], list[float], str]:
    """Completion tokens of all ranks a second of rank 0's rollout phase."""

    def rate(side: str, step: dict[str, Any]) -> float:
        return result["batch"] * step["logged"]["completions/mean_length"] / step["generate_s"]

    return *_both(result, rate), "tokens/s"


def _both(result: dict[str, Any], rate: Callable[[str, dict[str, Any]], float]) -> tuple[list[float], list[float]]:
    ours, theirs = ([rate(side, pair[side]) for pair in result["pairs"]] for side in ("ours", result["baseline"]))
    return ours, theirs


def machine() -> str:
    """Cores, model and instructions of this machine's processor, and the libraries' versions."""
    import torch
    import transformers
    import trl

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, trl {trl.__version__}"
    return f"{os.cpu_count()} cores of {cpu_model()}, {torch.backends.cpu.get_cpu_capability()}; {versions}"


def write_json(path: Path | None, **found: Any) -> None:
    """Write what was found beside the machine, where a file was named."""
    if path is not None:
        path.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n")
