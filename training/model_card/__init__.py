"""The card of a model: README.md in its folder, written from the records of the run and readable by huggingface_hub.

A model is hashed when its stage ends and measured afterwards, so its card is no part of the artifact
(`training.model_files`, docs/adr). What people write into a card stays: a card that was edited is never replaced
unasked.
"""

from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from training.identity import sha256_text
from training.model_card.body import body
from training.model_card.front_matter import front_matter
from training.model_files import CARD_MARK, CARD_NAME, is_card
from training.report.collect import RunView, StageView, read_run
from training.summary import Summary, summarise_view
from training.whole_text import write_whole


@dataclass(frozen=True)
class Card:
    """What became of one model's card: `reason` says why it was not written, None when it was."""

    stage: str
    path: Path
    reason: str | None = None


def write_cards(run_dir: Path, only: str | None = None, overwrite: bool = False) -> list[Card]:
    """Write the card of every finished model of a run, or of the stage `only`; `overwrite` replaces edited ones.

    Raises UserError where `run_dir` is no run folder, or `only` is no finished model of it.
    """
    run = read_run(run_dir)
    models = [stage for stage in run.stages if has_own_model(stage)]
    chosen = [stage for stage in models if only in (None, stage.name)]
    if only is not None and not chosen:
        names = ", ".join(stage.name for stage in models) or "none yet"
        raise UserError(f"{only} is no finished model of {run_dir}; those that are: {names}")
    summary = summarise_view(run)
    return [_write(run, summary, stage, overwrite) for stage in chosen]


def has_own_model(stage: StageView) -> bool:
    """Whether a finished stage left weights of its own; the base's folder is a link to somebody else's."""
    if stage.record is None or stage.folder is None:
        return False
    model = stage.folder / "model"
    return model.is_dir() and not model.is_symlink()


def render_card(run: RunView, summary: Summary, stage: StageView) -> str:
    """The text of a finished model's card: a YAML block, then Markdown."""
    text = f"{front_matter(run, summary, stage)}\n---\n\n{body(run, summary, stage)}"
    return f"---\n{CARD_MARK}, {sha256_text(text)[:16]}\n{text}"


def is_edited(text: str) -> bool:
    """Whether a card of ours has been changed since it was written."""
    mark, _, rest = text.removeprefix("---\n").partition("\n")
    return not mark.endswith(f", {sha256_text(rest)[:16]}")


def _write(run: RunView, summary: Summary, stage: StageView, overwrite: bool) -> Card:
    assert stage.folder is not None
    path = stage.folder / "model" / CARD_NAME
    if f"model/{CARD_NAME}" in (stage.record or {})["files"]:
        return Card(stage.name, path, "the stage's record has a README.md of its own, which must stay as it is")
    if path.is_file() and not overwrite:
        if not is_card(path):
            return Card(stage.name, path, "a README.md that posttrain did not write is there")
        if is_edited(path.read_text(encoding="utf-8")):
            return Card(stage.name, path, "it was edited since posttrain wrote it")
    write_whole(path, render_card(run, summary, stage))
    return Card(stage.name, path)
