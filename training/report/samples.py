"""What the models said: the same questions answered by every model, the pairs that were kept, rollouts from training.

Picks are made by rule, never at random: a question gained, one lost and one never answered per suite, where there are
such; the first and the last rollouts of a stage.
"""

from typing import Any

from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, section

LONGEST = 1200
PER_STAGE = 2


def samples_section(run: RunView) -> Markup | None:
    """Answers side by side, then samples of every stage that left some; None when there are none."""
    parts = [*_questions(run), *(shown for stage in run.stages if (shown := _stage_samples(stage)) is not None)]
    lead = "Chosen by rule, not by hand: per suite a question gained, one lost and one that no model answered."
    return section("samples", "What the models said", *parts, lead=lead) if parts else None


def text_of(value: Any) -> str:
    """A prompt or completion as text: a string as it is, messages as `role: content`, one message as its content."""
    if isinstance(value, list):
        if len(value) == 1:
            return str(value[0].get("content", ""))
        return "\n".join(f"{message.get('role', '')}: {message.get('content', '')}" for message in value)
    return str(value)


def clip(text: str) -> str:
    """At most LONGEST characters, saying how many were left out."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\u2026 ({len(text) - LONGEST} more characters)"


def said(text: str) -> Markup:
    """Model or data text, kept line by line and apart from the page's own writing direction; blank text says so."""
    if not text.strip():
        return element("p", f"blank ({len(text)} characters)" if text else "nothing", class_="empty")
    return element("pre", clip(text.rstrip()), dir="auto")


def pick(answers: dict[str, dict[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    """(why, item) for the items of one suite; `answers` is model -> item -> row, first and last model by order."""
    models = list(answers.values())
    first, last = models[0], models[-1]
    shared = [item for item in first if all(item in rows for rows in models)]
    rules = {
        "gained": [item for item in shared if not first[item]["correct"] and last[item]["correct"]],
        "lost": [item for item in shared if first[item]["correct"] and not last[item]["correct"]],
        "never answered": [item for item in shared if not any(rows[item]["correct"] for rows in models)],
    }
    return [(why, items[0]) for why, items in rules.items() if items]


def _questions(run: RunView) -> list[Markup]:
    suites: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for model in run.models:
        for stage in run.evaluations(model.name):
            for row in stage.lines("items.jsonl") if stage.record else []:
                suites.setdefault(row["suite"], {}).setdefault(model.name, {}).setdefault(str(row["item"]), row)
    blocks = []
    for suite, answers in suites.items():
        cards = [_card(why, item, answers) for why, item in pick(answers)]
        if cards:
            blocks.append(element("h3", suite, element("small", "the same question, every model")))
            blocks.append(element("div", *cards, class_="cards"))
    return blocks


def _card(why: str, item: str, answers: dict[str, dict[str, dict[str, Any]]]) -> Markup:
    row = next(iter(answers.values()))[item]
    head = element(
        "p", element("span", why, class_=f"tag {why.split()[0]}"), f" {row.get('family', '')}", class_="meta"
    )
    expected = element("p", "Expected: ", element("b", clip(str(row.get("answer", "")))), class_="meta")
    replies = []
    for model, rows in answers.items():
        right = bool(rows[item]["correct"])
        mark = element("span", "\u2713" if right else "\u2717", class_="good" if right else "bad", aria_hidden="true")
        words = element("span", "right" if right else "wrong", class_="hidden")
        replies.append(element("dt", mark, words, " ", model))
        replies.append(element("dd", said(text_of(rows[item]["completion"]))))
    return element("article", head, said(text_of(row["prompt"])), expected, element("dl", *replies), class_="card")


def _stage_samples(stage: StageView) -> Markup | None:
    if stage.kind == "sample":
        cards = [_pair_card(row) for row in stage.lines("data.jsonl")[:PER_STAGE]]
        title = "kept for training"
    else:
        rows = stage.lines("samples.jsonl") if stage.is_model else []
        shown = rows if len(rows) <= 2 * PER_STAGE else [*rows[:PER_STAGE], *rows[-PER_STAGE:]]
        cards = [_rollout_card(row) for row in shown]
        title = "first and last samples"
    if not cards:
        return None
    heading = element("summary", f"{stage.name}: {title}")
    return element("details", heading, element("div", *cards, class_="cards"))


def _rollout_card(row: dict[str, Any]) -> Markup:
    facts = [f"step {row.get('step', '?')}"]
    rewards = row.get("rewards") or {}
    facts += [f"{name} {'not applicable' if value is None else format(value, 'g')}" for name, value in rewards.items()]
    if row.get("advantage") is not None:
        facts.append(f"advantage {row['advantage']:+.2f}")
    if row.get("tokens") is not None:
        facts.append(f"{row['tokens']} tokens{', cut off' if row.get('truncated') else ''}")
    reply = element("dl", element("dt", "completion"), element("dd", said(text_of(row.get("completion", "")))))
    meta = element("p", " \u00b7 ".join(facts), class_="meta")
    return element("article", meta, said(text_of(row.get("prompt", ""))), reply, class_="card")


def _pair_card(row: dict[str, Any]) -> Markup:
    replies = []
    for name, reward in (("chosen", "chosen_reward"), ("rejected", "rejected_reward"), ("completion", "reward")):
        if name in row:
            earned = f", reward {row[reward]:g}" if isinstance(row.get(reward), int | float) else ""
            replies += [element("dt", f"{name}{earned}"), element("dd", said(text_of(row[name])))]
    return element("article", said(text_of(row.get("prompt", ""))), element("dl", *replies), class_="card")
