"""Facts that several kinds of stages put into their records: rewards, tokenizer, time and memory."""

import platform
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from training.balance import Balance
from training.context import StageContext
from training.json_lines import whole_lines
from training.ledger import most_beside
from training.models import special_tokens, template_sha256
from training.world import gather, peak_memory_gb

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def reward_facts(stage: Any) -> list[dict[str, Any]]:
    """What identifies each of a stage's rewards, for the record, and what scores beside them."""
    from training.rewards.resolve import reward_identity

    return [*(reward_identity(spec) for spec in getattr(stage, "rewards", [])), *_scorer_facts(stage)]


def _scorer_facts(stage: Any) -> list[dict[str, Any]]:
    """What scores beside the rewards; what it is by content stands in the identity."""
    blocks = ((name, getattr(stage, name, None)) for name in ("reward_model", "judge"))
    return [{"name": name, **block.model_dump(mode="json")} for name, block in blocks if block is not None]


def tokenizer_facts(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """Template hash and special tokens, which a child stage compares with its own."""
    return {"template_sha256": template_sha256(tokenizer), "special_tokens": special_tokens(tokenizer)}


def ledger_facts(context: StageContext) -> dict[str, Any]:
    """The stage's account for the record: wall seconds, seconds by phase (mean over ranks), memory of every rank.

    `timing_s` is the sum over the lines of metrics.jsonl and of `after_last_step_s`, which follows the last line.
    With several ranks rank 0 also has each one's host, seconds by phase and own work, and how even they were
    (training.balance).
    """
    own = {"host": platform.node(), "own_s": context.ledger.own_s, "gb": peak_memory_gb()}
    own |= {"timing": context.ledger.totals, "after": context.ledger.after_last_step, "overlap": context.ledger.overlap}
    ranks = gather(context.world, own)
    phases = ranks[0]["timing"]
    facts = {
        "wall_s": round(time.monotonic() - context.started + context.ledger.restored_s, 3),
        "timing_s": _mean_over(ranks, "timing", phases),
        "after_last_step_s": _mean_over(ranks, "after", ranks[0]["after"]),
        "overlap_s": {name: round(s, 3) for name, s in most_beside([rank["overlap"] for rank in ranks]).items()},
        "peak_memory_gb": [round(r["gb"], 3) for r in ranks],
    }
    return facts | (_by_rank(context, ranks) if len(ranks) > 1 and context.world.is_main else {})


def _mean_over(ranks: list[dict[str, Any]], part: str, phases: Iterable[str]) -> dict[str, float]:
    return {name: round(sum(rank[part].get(name, 0.0) for rank in ranks) / len(ranks), 3) for name in phases}


def _by_rank(context: StageContext, ranks: list[dict[str, Any]]) -> dict[str, Any]:
    each = [
        {
            "host": rank["host"],
            "own_s": round(rank["own_s"], 3),
            "timing_s": {name: round(seconds, 3) for name, seconds in rank["timing"].items()},
        }
        for rank in ranks
    ]
    return {"ranks": each, "balance": Balance(whole_lines(context.folder / "metrics.jsonl")).facts()}
