r"""hh-rlhf (Bai et al. 2022, arXiv:2204.05862): two whole transcripts, "\n\nHuman: ...\n\nAssistant: ...", that share
all but their last answer; or the shared part as a prompt, and two answers.
"""

import re
from typing import Any

from data.formats.conversation import split, text, with_system_column
from data.formats.format import Example, Format, Message, Row
from data.formats.pairs import pair, shared_prompt
from data.formats.shape import OPEN_TRANSCRIPT, TEXT, TRANSCRIPT
from data.formats.tool_use import refuse_tools
from data.row_checks import BadRow

# A speaker stands after a blank line or at the very beginning: "Human:" inside a sentence is text.
_SPEAKER = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant): ?")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def transcript(value: Any, column: str, least: int = 2) -> list[Message]:
    """Return a transcript of at least so many turns as messages."""
    value = text(value, column)
    parts = _SPEAKER.split(value)
    if parts[0].strip() or len(parts) < 1 + 2 * least:
        raise BadRow(
            "wrong_kind",
            f"{column} is a text without a prompt column and no transcript of Human: and Assistant:; give prompt",
        )
    spoken = zip(parts[1::2], parts[2::2], strict=True)
    return [
        {"role": _ROLES[speaker], "content": text(said.strip(), f"{column}[{index}]")}
        for index, (speaker, said) in enumerate(spoken)
    ]


def _open_transcript(row: Row) -> Example:
    """A prompt that is a transcript up to "Assistant:", and the two answers to it."""
    refuse_tools(row)
    before, _, after = text(row.get("prompt"), "prompt").rstrip().rpartition("Assistant:")
    if after or not before:
        raise BadRow("wrong_kind", "prompt must be a transcript that ends with Assistant:")
    return pair(row, with_system_column(row, transcript(before, "prompt", least=1)))


def _hh_rlhf(row: Row) -> Example:
    refuse_tools(row)
    chosen, rejected = (
        split(with_system_column(row, transcript(row.get(column), column)), column) for column in ("chosen", "rejected")
    )
    return shared_prompt(*chosen, *rejected)


HH_RLHF = Format(
    "hh-rlhf",
    {"chosen": TRANSCRIPT, "rejected": TRANSCRIPT},
    ("preference", "prompt"),
    _hh_rlhf,
    '`chosen`, `rejected`: whole transcripts "Human: ... Assistant: ..." that differ in the last answer',
    "what they share is the prompt",
    uses=("chosen", "rejected", "system"),
)
HH_RLHF_PROMPT = Format(
    "hh-rlhf-prompt",
    {"prompt": OPEN_TRANSCRIPT, "chosen": TEXT, "rejected": TEXT},
    ("preference", "prompt"),
    _open_transcript,
    '`prompt`: a transcript that ends with "Assistant:", `chosen`, `rejected`: the answers',
    "the transcript's turns are the prompt",
    uses=("prompt", "chosen", "rejected", "system"),
    over=("preference",),
)
