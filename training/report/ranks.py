"""How even the ranks of each stage were: which one was slowest how often, and each one's seconds by phase.

Hosts are not named: a page that people pass on should not tell them (`posttrain status` does).
"""

from training.balance import Balance, balance_words
from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, join, table


def ranks_part(run: RunView) -> Markup | None:
    """A sentence a stage of several ranks, and their seconds folded in under it; None where all had one rank."""
    parts = [part for stage in run.stages if (part := _stage(stage)) is not None]
    return join(element("h3", "Ranks"), *parts) if parts else None


def _stage(stage: StageView) -> Markup | None:
    ledger = (stage.record or {}).get("ledger") or {}
    facts = ledger.get("balance") or Balance(stage.metrics).facts()
    ranks = ledger.get("ranks") or []
    if facts is None:
        return None
    sentence = element("p", element("b", stage.name), f": {balance_words(facts)}.")
    if not ranks:
        return sentence
    phases = [name for name, seconds in ranks[0]["timing_s"].items() if name != "step" and seconds]
    rows = [
        [str(number), f"{rank['own_s']:,.1f}", *(f"{rank['timing_s'].get(name, 0.0):,.1f}" for name in phases)]
        for number, rank in enumerate(ranks)
    ]
    head = ("rank", "own work", *phases)
    shown = table(head, rows, f"{stage.name}: seconds of each rank", range(1, len(head)))
    return join(sentence, element("details", element("summary", f"{stage.name}: seconds of each rank"), shown))
