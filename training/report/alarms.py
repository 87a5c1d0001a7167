"""Health: what the detectors found while stages trained, with the completions that show it, and what was done.

An alarm names lines of samples.jsonl; after a rollback that file was cut back, and the lines lie in a file of their own
that the intervention names.
"""

from typing import Any

from training.report.collect import RunView, StageView
from training.report.line_files import numbered_lines
from training.report.markup import Markup, element, join, section, table
from training.report.samples import rollout_card

SHOWN_ROWS = 4
POLICY_CLASS = {"stop": "bad", "rollback": "bad", "warn": "flat"}


def health_section(run: RunView) -> Markup | None:
    """Alarms by stage and interventions; None when no stage has trained."""
    watched = [stage for stage in run.stages if stage.trains and (stage.metrics or stage.record)]
    if not watched:
        return None
    alarms = [(stage, alarm) for stage in watched for alarm in stage.lines("alarms.jsonl")]
    lead = join(
        "Detectors read every step's metrics while a stage trains (docs/health.md). An alarm is told once, when it "
        "begins; under it are the completions, or the rows of the step, that show it."
    )
    if not alarms:
        names = ", ".join(stage.name for stage in watched)
        quiet = element("p", f"No detector found anything in {names}.", class_="good")
        return section("health", "Health", quiet, _interventions(run), lead=lead)
    head = ("stage", "step", "detector", "policy", "what was found")
    panel = element("div", table(head, [_row(*one) for one in alarms], "Alarms", (1,)), class_="panel alarms")
    evidence = [shown for stage, alarm in alarms if (shown := _evidence(stage, alarm)) is not None]
    return section("health", "Health", panel, *evidence, _interventions(run), lead=lead)


def _row(stage: StageView, alarm: dict[str, Any]) -> list[Markup | str]:
    policy = str(alarm.get("policy", ""))
    told = element("span", policy, class_=POLICY_CLASS.get(policy))
    return [stage.name, str(alarm.get("step", "")), str(alarm.get("detector", "")), told, str(alarm.get("message", ""))]


def _evidence(stage: StageView, alarm: dict[str, Any]) -> Markup | None:
    """The completions that an alarm names, as far as they are still there."""
    named = [int(number) for number in alarm.get("samples") or []]
    if not named:
        return None
    found = _named_rows(stage, alarm, named)
    title = f"{stage.name}, {alarm.get('detector')} at step {alarm.get('step')}: what shows it"
    facts = f"{len(named)} named, lines {', '.join(map(str, named))} of samples.jsonl"
    if len(found) < len(named):
        facts += f"; no longer there: {len(named) - len(found)}"
    if len(found) > SHOWN_ROWS:
        facts += f"; the first {SHOWN_ROWS} are shown"
    cards = element("div", *(rollout_card(row) for row in found[:SHOWN_ROWS]), class_="cards")
    return element("details", element("summary", title), element("p", facts, class_="meta"), cards if found else None)


def _named_rows(stage: StageView, alarm: dict[str, Any], named: list[int]) -> list[dict[str, Any]]:
    for one in (stage.record or {}).get("interventions") or []:
        if one.get("samples") and (one.get("step"), one.get("detector")) == (alarm.get("step"), alarm.get("detector")):
            return stage.lines(one["samples"])
    return list(numbered_lines(stage.path("samples.jsonl"), named).values())


def _interventions(run: RunView) -> Markup | None:
    """What detectors did, e.g. a rollback; the fingerprints of what follows such a stage tell of it."""
    found = [(stage, one) for stage in run.stages if stage.record for one in stage.record.get("interventions") or []]
    if not found:
        return None
    rows = [
        [
            stage.name,
            str(one.get("step", "")),
            f"{one.get('action', '')} for {one.get('detector', '')}",
            str(one.get("to_step", "")),
            f"{one['learning_rate']:g}" if isinstance(one.get("learning_rate"), int | float) else "",
        ]
        for stage, one in found
    ]
    head = ("stage", "at step", "what was done", "went on from step", "learning rate from there")
    return element("div", table(head, rows, "Interventions", (1, 3, 4)), class_="panel")
