"""`posttrain status`: what lies in a run folder, what the present pipeline uses of it, and what changed around it."""

from pathlib import Path
from typing import Any

from launch.lock import LOCK_NAME, owner_alive, read_owner, stage_locks
from launch.slurm.status import jobs_text
from launch.words import table
from training.alarms import newest_alarms
from training.balance import balance_words
from training.environment import describe_environment, environment_differences
from training.progress import utc_words
from training.rank_state import read_rank_states
from training.record import missing_files, read_record
from training.run_folder import REPORT_NAME, RunFolder, StageFolder

HEADLINES = {
    "sft": ("step", "loss"),
    "dpo": ("step", "loss", "rewards/accuracies"),
    "grpo": ("step", "reward", "loss"),
    "reward_model": ("step", "loss", "accuracy"),
    "sample": ("prompts", "kept", "mean_reward"),
}
"""Which of a record's metrics are shown, by kind; an evaluation shows its accuracies."""


def status_text(run: RunFolder) -> str:
    """Return the table of stage folders, with what detectors found in those in use and the warnings beneath it."""
    resolved = run.read_resolved() or {}
    used = {folder: name for name, folder in resolved.get("folders", {}).items()}
    present = describe_environment()
    rows, warnings, balances, alarms = [], [], [], []
    for folder in run.stages():
        record = read_record(folder.path)
        in_use = "in use" if folder.path.name in used else "unused"
        rows.append([folder.path.name, in_use, _state(folder, record), headline(record)])
        if record is not None and in_use == "in use":
            warnings += _warnings(folder.path, record, present)
        if in_use == "in use":
            balances += _balance(folder, record)
            alarms += [f"{folder.path.name}: {alarm}" for alarm in newest_alarms(folder.path)]
    waiting = [name for name, folder in resolved.get("folders", {}).items() if not (run.path / folder).is_dir()]
    lines = [f"{resolved.get('name', run.path.name)} in {run.path}: {_running(run)}", ""]
    lines.append(table(["folder", "use", "state", "result"], rows) if rows else "no stage has started")
    if balances:
        lines += ["", *balances]
    if waiting:
        lines += ["", f"not started: {', '.join(waiting)}"]
    jobs = jobs_text(run.path)
    if jobs is not None:
        lines += ["", jobs]
    if any(row[1] == "unused" for row in rows):
        lines += [
            "",
            "unused folders belong to earlier versions of the config; `posttrain clean CONFIG` lists and removes them",
        ]
    lines += [f"alarm: {alarm}" for alarm in alarms]
    lines += [f"warning: {warning}" for warning in _merged(warnings)]
    if (run.path / REPORT_NAME).is_file():
        lines += ["", f"report: {run.path / REPORT_NAME}"]
    return "\n".join(lines)


def _running(run: RunFolder) -> str:
    return ", ".join(f"running ({who})" for who in runners(run)) or "not running"


def runners(run: RunFolder) -> list[str]:
    """Who holds the lock of the run, or those of its stages, in words."""
    found = []
    for path in [run.path / LOCK_NAME, *stage_locks(run.path)]:
        owner = read_owner(path)
        if owner is not None and owner_alive(owner, path):
            what = "" if path.name == LOCK_NAME else f"{path.stem}, "
            job = f"job {owner['slurm_job']}, " if "slurm_job" in owner else ""
            found.append(f"{what}{job}process {owner['pid']} on {owner['host']}{_since(owner)}")
    return found


def _since(owner: dict[str, Any]) -> str:
    return f" since {utc_words(owner['started_at'])}" if "started_at" in owner else ""


def _balance(folder: StageFolder, record: dict[str, Any] | None) -> list[str]:
    """Which rank of a stage with several was slowest how often, from its record or its ranks so far."""
    states = read_rank_states(folder.path)
    facts = record["ledger"].get("balance") if record is not None and "ledger" in record else None
    if record is None and states:
        facts = states[0].get("balance")
    return [] if facts is None else [f"{folder.name}: {balance_words(facts, host_of(states, facts['slowest_rank']))}"]


def host_of(states: list[dict[str, Any]], rank: int) -> str | None:
    """The host of a rank, where its state file tells."""
    return str(states[rank]["host"]) if rank < len(states) and states[rank].get("host") else None


def _state(folder: StageFolder, record: dict[str, Any] | None) -> str:
    if record is not None:
        return f"done {utc_words(record['finished_at'])}"
    states = read_rank_states(folder.path) if (folder.path / "ranks").is_dir() else []
    if not states:
        return "unfinished"
    slowest = min(states, key=lambda state: state.get("step") or 0)
    step = f" at step {slowest['step']} of {slowest['max_steps']}" if slowest.get("max_steps") else ""
    message = next((f": {state['message']}" for state in states if state.get("message")), "")
    return f"{slowest.get('outcome') or slowest.get('phase')}{step}{message.splitlines()[0] if message else ''}"


def headline(record: dict[str, Any] | None) -> str:
    """The few numbers a person looks for first; `n/a` for one that was NaN or infinite, which a record has as None."""
    if record is None:
        return ""
    metrics = record.get("metrics", {})
    if record["kind"] == "evaluate":
        return "  ".join(
            f"{suite} {values['accuracy']:.1%} (n={values['n']})"
            for suite, values in metrics.items()
            if isinstance(values, dict) and "accuracy" in values
        )
    shown = {key: metrics[key] for key in HEADLINES.get(record["kind"], ()) if key in metrics}
    return "  ".join(f"{key} {'n/a' if value is None else format(value, '.4g')}" for key, value in shown.items())


def _warnings(folder: Path, record: dict[str, Any], present: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (warning, folder) pairs, so that one warning on many folders is said once."""
    warnings = [(f"{name} is missing", folder.name) for name in missing_files(folder, record)]
    differences = environment_differences(record.get("environment", {}), present)
    if differences:
        warnings.append((f"made in another environment: {', '.join(differences)}", folder.name))
    return warnings


def _merged(warnings: list[tuple[str, str]]) -> list[str]:
    folders: dict[str, list[str]] = {}
    for warning, folder in warnings:
        folders.setdefault(warning, []).append(folder)
    return [f"{', '.join(names)}: {warning}" for warning, names in folders.items()]
