"""Every row format posttrain knows, in one place. A new one is an entry here and a parser in a file of its own.

A change of what a format becomes is another experiment: raise FORMATS_VERSION, which is part of the identity of rows.
"""

from data.formats.alpaca import ALPACA
from data.formats.dialogue import KTO, MESSAGES_FORMAT, PROMPT, PROMPT_COMPLETION, SHAREGPT, SHAREGPT_MESSAGES
from data.formats.format import Format
from data.formats.hh_rlhf import HH_RLHF, HH_RLHF_PROMPT
from data.formats.pairs import (
    ALPACA_PREFERENCE,
    ORCA_DPO,
    PREFERENCE,
    PREFERENCE_CONVERSATIONS,
    SHAREGPT_PREFERENCE,
)
from data.formats.questions import GSM8K, MATH, MULTIPLE_CHOICE, PROBLEM_ANSWER, QUESTION_ANSWER, SVAMP
from data.formats.raw_text import RAW_TEXT

FORMATS_VERSION = 1

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        PROMPT,
        MESSAGES_FORMAT,
        PROMPT_COMPLETION,
        ALPACA,
        SHAREGPT,
        SHAREGPT_MESSAGES,
        KTO,
        PREFERENCE,
        PREFERENCE_CONVERSATIONS,
        HH_RLHF,
        HH_RLHF_PROMPT,
        ORCA_DPO,
        ALPACA_PREFERENCE,
        SHAREGPT_PREFERENCE,
        QUESTION_ANSWER,
        GSM8K,
        SVAMP,
        MATH,
        PROBLEM_ANSWER,
        *MULTIPLE_CHOICE,
        RAW_TEXT,
    )
}
