"""The torture report: JSON with every kill, and a table of kills by kind and stage for people."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.torture.lives import Life


def summary(mode: str, starts: str, seed: int, lives: list[Life], untouched_s: float) -> dict[str, Any]:
    """Everything that happened, as JSON has it."""
    kills = [kill for life in lives for kill in life.kills]
    return {
        "mode": mode,
        "starts": starts,
        "seed": seed,
        "kills": len(kills),
        "runs": len(lives),
        "lost": [f"{life.name}: {life.lost}" for life in lives if life.lost],
        "differences": [f"{life.name}: {one}" for life in lives for one in life.differences],
        "wall_s": round(sum(life.wall_s for life in lives), 1),
        "untouched_s": round(untouched_s, 1),
        "lives": [asdict(life) for life in lives],
    }


def write_report(folder: Path, found: dict[str, Any]) -> Path:
    """Write `report.json` and `report.md`; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    path = folder / "report.md"
    path.write_text(markdown(found))
    return path


def markdown(found: dict[str, Any]) -> str:
    """The kills by kind and stage, their exit codes, and the verdict."""
    kills = [kill for life in found["lives"] for kill in life["kills"]]
    stages = list(dict.fromkeys(kill["stage"] for kill in sorted(kills, key=lambda kill: kill["time"])))
    by_kind = Counter((kill["kind"], kill["stage"]) for kill in kills)
    head = ["what happened", *stages, "all", "exit codes"]
    rows = [head, ["---"] * len(head)]
    for kind in sorted({kill["kind"] for kill in kills}):
        counts = [by_kind[kind, stage] for stage in stages]
        codes = Counter(kill["exit"] for kill in kills if kill["kind"] == kind)
        said = ", ".join(f"{code} x {count}" for code, count in sorted(codes.items()))
        rows.append([kind, *(str(count or "") for count in counts), str(sum(counts)), said])
    totals = [sum(by_kind[kind, stage] for kind in {kill["kind"] for kill in kills}) for stage in stages]
    rows.append(["all", *(str(total) for total in totals), str(len(kills)), ""])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{verdict(found)}\n\n{table}\n"


def verdict(found: dict[str, Any]) -> str:
    """One sentence on what came out."""
    said = (
        f"{found['mode']}, {found['starts']} starts, seed {found['seed']}: {found['kills']} kills in {found['runs']} "
        f"runs, {found['wall_s']:.0f} s (an untouched run takes {found['untouched_s']:.0f} s)"
    )
    problems = [*found["lost"], *found["differences"]]
    if problems:
        return f"{said}. NOT the same: " + "; ".join(problems[:10])
    return f"{said}. None lost; weights, metrics, samples, data and answers equal the untouched run's."
