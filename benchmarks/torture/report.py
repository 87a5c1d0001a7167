"""The torture report: JSON with every kill, and a table of kills by kind and stage for people."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.torture.lives import Life


def summary(mode: str, starts: str, seed: int, lives: list[Life], untouched_s: float) -> dict[str, Any]:
    """Everything that happened, as JSON has it."""
    for life in lives:
        mark_ends(life.kills)
    happened = [kill for life in lives for kill in life.kills]
    return {
        "mode": mode,
        "starts": starts,
        "seed": seed,
        "kills": sum(kill["ended_run"] for kill in happened),
        "gone_through": sum(not kill["ended_run"] for kill in happened),
        "runs": len(lives),
        "lost": [f"{life.name}: {life.lost}" for life in lives if life.lost],
        "differences": [f"{life.name}: {one}" for life in lives for one in life.differences],
        "wall_s": round(sum(life.wall_s for life in lives), 1),
        "untouched_s": round(untouched_s, 1),
        "lives": [asdict(life) for life in lives],
    }


def mark_ends(happened: list[dict[str, Any]]) -> None:
    """Tell what ended an attempt from what it went through: the last thing that happened to one that failed did."""
    for one, after in zip(happened, [*happened[1:], None], strict=True):
        last = after is None or after["attempt"] != one["attempt"]
        one["ended_run"] = last and one["exit"] != 0


def write_report(folder: Path, found: dict[str, Any]) -> Path:
    """Write `report.json` and `report.md`; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    path = folder / "report.md"
    path.write_text(markdown(found))
    return path


def markdown(found: dict[str, Any]) -> str:
    """The kills by kind and stage, their exit codes, and the verdict."""
    happened = [kill for life in found["lives"] for kill in life["kills"]]
    kills = [kill for kill in happened if kill["ended_run"]]
    stages = list(dict.fromkeys(kill["stage"] for kill in sorted(kills, key=lambda kill: kill["time"])))
    by_kind = Counter((kill["kind"], kill["stage"]) for kill in kills)
    head = ["what ended the run", *stages, "all", "exit codes", "gone through"]
    rows = [head, ["---"] * len(head)]
    for kind in sorted({kill["kind"] for kill in happened}):
        counts = [by_kind[kind, stage] for stage in stages]
        codes = Counter(kill["exit"] for kill in kills if kill["kind"] == kind)
        said = ", ".join(f"{code} x {count}" for code, count in sorted(codes.items()))
        through = sum(kill["kind"] == kind and not kill["ended_run"] for kill in happened)
        rows.append([kind, *(str(count or "") for count in counts), str(sum(counts)), said, str(through or "")])
    totals = [str(sum(kill["stage"] == stage for kill in kills)) for stage in stages]
    rows.append(["all", *totals, str(len(kills)), "", str(len(happened) - len(kills) or "")])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{verdict(found)}\n\n{table}\n"


def verdict(found: dict[str, Any]) -> str:
    """One sentence on what came out."""
    said = (
        f"{found['mode']}, {found['starts']} starts, seed {found['seed']}: {found['kills']} kills in {found['runs']} "
        f"runs, {found['gone_through']} faults more that a run went through, {found['wall_s']:.0f} s (an untouched run "
        f"takes {found['untouched_s']:.0f} s)"
    )
    problems = [*found["lost"], *found["differences"]]
    if problems:
        return f"{said}. NOT the same: " + "; ".join(problems[:10])
    return f"{said}. None lost; weights, metrics, samples, data and answers equal the untouched run's."
