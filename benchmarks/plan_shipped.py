"""What `posttrain plan` says of every shipped pipeline: the tables of docs/shipped_plans.md, which a test holds true.

    python -m benchmarks.plan_shipped > docs/shipped_plans.md

Pipelines for GPUs are planned for H100s, with time and GPU-hours; the others for the CPU, memory only: what a CPU needs
in time, only a ledger tells.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from launch.cli import main as posttrain

ROOT = Path(__file__).resolve().parent.parent
NOT_PIPELINES = ("accelerate", "deepspeed", "sweeps")
HEAD = """# Plans of the shipped pipelines

Written by `python -m benchmarks.plan_shipped` from `posttrain plan --json`; [plan.md](plan.md) says what they stand on.
None of the GPU figures was measured on our machines.
"""
COLUMNS = "| Stage | One step | Updates | Peak of a rank, GB | Decided by |\n|---|---|---|---|---|"
GPU_COLUMNS = (
    "| Stage | One step | Updates | Peak of a rank, GB | Decided by | One update, s: likely (from - to) | GPU-hours |\n"
    "|---|---|---|---|---|---|---|"
)


def pipelines() -> list[str]:
    """The shipped pipelines, relative to the checkout."""
    found = (path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml"))
    return sorted(str(path) for path in found if path.parts[1] not in NOT_PIPELINES)


def for_gpus(config: str) -> bool:
    """Whether the header names GPUs."""
    return "80 GB" in (ROOT / config).read_text().split("\nname:")[0]


def plan_of(config: str) -> dict[str, Any]:
    """What `posttrain plan CONFIG --json` prints, beside no earlier run."""
    gpu = ["--gpu", "h100-80gb"] if for_gpus(config) else []
    shown = io.StringIO()
    with tempfile.TemporaryDirectory() as empty, contextlib.redirect_stdout(shown):
        code = posttrain(["plan", str(ROOT / config), f"runtime.runs_dir={empty}", "--json", *gpu])
    assert code == 0, config
    plan: dict[str, Any] = json.loads(shown.getvalue())
    return plan


def step_in_words(batch: dict[str, Any] | None) -> tuple[str, str]:
    """The sizes of an optimizer step, and how many there are."""
    if batch is None:
        return "", ""
    rows = f"{batch['ranks']} ranks x {batch['micro_batch']} x {batch['accumulation']} = {batch['batch_size']}"
    updates = f"{batch['updates']:,}" if batch["updates"] is not None else "as the rows have it"
    return rows, updates


def section(config: str) -> str:
    """The table of one pipeline."""
    plan = plan_of(config)
    gpus = for_gpus(config)
    command = f"posttrain plan {config}" + (" --gpu h100-80gb" if gpus else "")
    lines = [f"## {plan['name']}", "", f"`{command}`", "", GPU_COLUMNS if gpus else COLUMNS]
    for stage in plan["stages"]:
        if stage.get("memory") is not None:
            lines.append(f"| {' | '.join(cells(stage, gpus))} |")
    if gpus and plan["total_at_least"] is not None:
        hours, missing = plan["total_at_least"]["gpu_hours"], plan["not_in_total"]
        lines += ["", f"All of it{', at least' if missing else ''}: {spread(hours, ' GPU-hours')}."]
        if missing:
            lines[-1] += f" Nobody knows how long these take: {', '.join(missing)}."
    return "\n".join(lines)


def cells(stage: dict[str, Any], gpus: bool) -> list[str]:
    """One stage's line."""
    step, updates = step_in_words(stage["batch"])
    memory = stage["memory"]
    shown = [stage["name"], step, updates, f"{memory['peak'] / 1e9:.1f}", memory["peak_phase"]]
    if not gpus:
        return shown
    time = stage["time"]
    if time is None:
        return [*shown, "", ""]
    update = time["update_s"]
    return [*shown, "" if update is None else spread(update), spread(time["total"]["gpu_hours"])]


def spread(found: dict[str, float], unit: str = "") -> str:
    """The likely figure, and from what to what: three digits, whole numbers from a thousand on."""
    likely, low, high = (
        f"{found[end]:,.0f}" if found[end] >= 1000 else f"{found[end]:.3g}" for end in ("likely", "low", "high")
    )
    return f"{likely}{unit} ({low} - {high})"


def document() -> str:
    """The whole page."""
    return "\n\n".join([HEAD.strip(), *map(section, pipelines())]) + "\n"


if __name__ == "__main__":
    print(document(), end="")
