"""What can be wrong with a row of tokens. A flag is an error, counted against the threshold; a note is only counted.

Each check is a function of one row; the texts say what the reader should know and do.
"""

from collections.abc import Iterator

from data.doctor.sequences import TokenFacts, TokenRow, TokenSequence

FLAGS = {
    "no_trained_token": "no token has a label: the mask removes the whole completion",
    "no_trained_token_within_limit": "every trained token lies beyond the limit: raise max_length or shorten the row",
    "end_of_turn_not_trained": "the token that ends the turn has no label: the model would never learn to stop",
    "two_bos": "the row begins with two BOS tokens: template and tokenizer both write one",
    "prompt_differs_from_rollout": "the prompt that a rollout renders is not what the trained row begins with",
    "chosen_equals_rejected": "chosen and rejected are the same tokens inside the limit: nothing to prefer",
    "prompts_differ": "chosen and rejected answer different prompts",
    "prompt_over_limit": "the prompt leaves no room for its completion in the model's context",
}
NOTES = {
    "cut_by_limit": "trained tokens lie beyond the limit, the end of the turn among them",
    "duplicate": "the same tokens as an earlier row: data.dedup drops them",
    "contaminated": "shares n-grams with what the pipeline is measured on: data.decontaminate drops them",
}


def flags(row: TokenRow, facts: TokenFacts) -> list[str]:
    """Return the names of what is wrong with a row, each once, in the order of FLAGS."""
    found = set(_row_flags(row))
    for name, sequence in row.sequences.items():
        found |= set(_prompt_flags(sequence, facts) if name == "prompt" else _trained_flags(sequence, facts))
    return [name for name in FLAGS if name in found]


def is_cut(row: TokenRow) -> bool:
    """Whether the limit takes trained tokens away, but not all of them."""
    trained = [sequence for sequence in row.sequences.values() if sequence.num_trained]
    return any(0 < sequence.num_trained_kept < sequence.num_trained for sequence in trained)


def _row_flags(row: TokenRow) -> Iterator[str]:
    if row.prompt_matches is False:
        yield "prompt_differs_from_rollout"
    if "chosen" in row.sequences:
        chosen, rejected = row.sequences["chosen"], row.sequences["rejected"]
        if chosen.kept == rejected.kept:
            yield "chosen_equals_rejected"
        if _prompt(chosen) != _prompt(rejected):
            yield "prompts_differ"


def _prompt(sequence: TokenSequence) -> tuple[int, ...]:
    """The ids before the first trained one."""
    first = next((place for place, trained in enumerate(sequence.trained) if trained), len(sequence))
    return tuple(sequence.ids[:first])


def _prompt_flags(sequence: TokenSequence, facts: TokenFacts) -> Iterator[str]:
    if _begins_with_two_bos(sequence, facts):
        yield "two_bos"
    if facts.limit is not None and len(sequence) + facts.room > facts.limit:
        yield "prompt_over_limit"


def _trained_flags(sequence: TokenSequence, facts: TokenFacts) -> Iterator[str]:
    if _begins_with_two_bos(sequence, facts):
        yield "two_bos"
    if sequence.num_trained == 0:
        yield "no_trained_token"
        return
    if sequence.num_trained_kept == 0:
        yield "no_trained_token_within_limit"
    if not _ends_trained(sequence, facts):
        yield "end_of_turn_not_trained"


def _begins_with_two_bos(sequence: TokenSequence, facts: TokenFacts) -> bool:
    return facts.bos_id is not None and len(sequence) > 1 and sequence.ids[0] == sequence.ids[1] == facts.bos_id


def _ends_trained(sequence: TokenSequence, facts: TokenFacts) -> bool:
    """Whether the last trained token that is not mere whitespace ends the turn; looked for before the limit cuts."""
    for token, trained in zip(reversed(sequence.ids), reversed(sequence.trained), strict=True):
        if trained and (token in facts.end_ids or not facts.is_blank(token)):
            return token in facts.end_ids
    return False
