"""What the models said: the same questions answered before and after, the pairs that were kept, rollouts from training.

Picks are made by rule, never at random: a question gained, one lost and one never answered per suite, where there are
such; the first and the last rollouts of a stage.
"""

from typing import Any

from training.report.collect import RunView, StageView
from training.report.line_files import first_lines, last_lines
from training.report.markup import Markup, element, join, section

LONGEST = 1200
PER_STAGE = 2
MOST_SUITES = 8
ROW_TEXTS = ("completion", "chosen", "rejected", "messages", "text")


def samples_section(run: RunView) -> Markup | None:
    """Answers side by side, then samples of every stage that left some; None when there are none."""
    parts = [*_questions(run), *(shown for stage in run.stages if (shown := _stage_samples(stage)) is not None)]
    lead = (
        "Chosen by rule, not by hand: per suite a question gained, one lost and one that no model answered. Left the "
        "first model measured, right the last."
    )
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
            for row in stage.items if stage.record else []:
                suites.setdefault(row["suite"], {}).setdefault(model.name, {}).setdefault(str(row["item"]), row)
    blocks = []
    for suite, answers in list(suites.items())[:MOST_SUITES]:
        cards = [_card(why, item, answers) for why, item in pick(answers)]
        if cards:
            blocks.append(element("h3", suite, element("small", "the same question before and after")))
            blocks.append(element("div", *cards, class_="cards wide"))
    if len(suites) > MOST_SUITES:
        left = f"{len(suites) - MOST_SUITES} more suites are in items.jsonl of the evaluations."
        blocks.append(element("p", left, class_="meta"))
    return blocks


def _card(why: str, item: str, answers: dict[str, dict[str, dict[str, Any]]]) -> Markup:
    """One question: the first model's answer beside the last one's, those between folded away."""
    row = next(iter(answers.values()))[item]
    head = element(
        "p", element("span", why, class_=f"tag {why.split()[0]}"), f" {row.get('family') or ''}", class_="meta"
    )
    expected = element("p", "Expected: ", element("b", clip(str(row.get("answer", "")))), class_="meta")
    replies = [_reply(model, rows[item]) for model, rows in answers.items()]
    first, *between, last = replies if len(replies) > 1 else [*replies, None]
    folded = None
    if between:
        told = element("summary", f"The {len(between)} model{'s' if len(between) > 1 else ''} between")
        folded = element("details", told, element("div", *between, class_="sides"))
    sides = element("div", first, last, class_="sides")
    return element("article", head, said(text_of(row.get("prompt") or "")), expected, sides, folded, class_="card")


def _reply(model: str, row: dict[str, Any]) -> Markup:
    """One model's answer with its rewards (answer and format, as evaluations score) and its length."""
    right = bool(row["correct"])
    mark = element("span", "\u2713" if right else "\u2717", class_="good" if right else "bad", aria_hidden="true")
    facts = ["right" if right else "wrong"]
    if row.get("format") is not None:
        facts.append("in the format" if row["format"] else "not in the format")
    facts += _length(row)
    head = element("p", mark, " ", element("b", model), element("small", ", ".join(facts)))
    return element("div", head, said(text_of(row.get("completion") or "")), class_="reply")


def _length(row: dict[str, Any]) -> list[str]:
    if row.get("tokens") is None:
        return []
    return [f"{row['tokens']} tokens{', cut off' if row.get('truncated') else ''}"]


def _stage_samples(stage: StageView) -> Markup | None:
    if stage.kind == "sample":
        cards = [_pair_card(row) for row in first_lines(stage.path("data.jsonl"), PER_STAGE)]
        title = "kept for training"
    elif stage.kind == "grpo":
        path = stage.path("samples.jsonl")
        shown = first_lines(path, 2 * PER_STAGE)
        if len(shown) == 2 * PER_STAGE:
            shown[PER_STAGE:] = last_lines(path, PER_STAGE)
        cards = [rollout_card(row) for row in shown]
        title = "first and last samples"
    else:
        return None
    if not cards:
        return None
    heading = element("summary", f"{stage.name}: {title}")
    return element("details", heading, element("div", *cards, class_="cards"))


def rollout_card(row: dict[str, Any]) -> Markup:
    """One completion of a rollout round with its rewards, its advantage and its length, or one row of a data set."""
    facts = [f"step {row.get('step', '?')}", *([str(row["where"])] if row.get("where") else [])]
    rewards = row.get("rewards") or {}
    facts += [f"{name} {'not applicable' if value is None else format(value, 'g')}" for name, value in rewards.items()]
    if row.get("advantage") is not None:
        facts.append(f"advantage {row['advantage']:+.2f}")
    facts += _length(row)
    replies = [
        join(element("dt", name), element("dd", said(text_of(row[name]))))
        for name in ROW_TEXTS
        if row.get(name) is not None
    ]
    meta = element("p", " \u00b7 ".join(facts), class_="meta")
    prompt = said(text_of(row["prompt"])) if row.get("prompt") is not None else None
    return element("article", meta, prompt, element("dl", *replies), class_="card")


def _pair_card(row: dict[str, Any]) -> Markup:
    replies = []
    for name, reward in (("chosen", "chosen_reward"), ("rejected", "rejected_reward"), ("completion", "reward")):
        if name in row:
            earned = f", reward {row[reward]:g}" if isinstance(row.get(reward), int | float) else ""
            replies += [element("dt", f"{name}{earned}"), element("dd", said(text_of(row[name])))]
    return element("article", said(text_of(row.get("prompt", ""))), element("dl", *replies), class_="card")
