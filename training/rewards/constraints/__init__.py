"""Checks of single instructions, by the names that IFEval and IFBench give them, so that their data works as it is.

IFEval: Zhou et al. 2023, arXiv 2311.07911 (the 25 kinds of its data). IFBench: Pyatkin et al. 2025, arXiv 2507.02833
(the kinds that need no tagger, no syllable table and no downloaded model). A check is `f(text, **arguments) -> bool`;
arguments have the names of the data sets' `kwargs`.
"""

from collections.abc import Callable

from training.rewards.constraints import casing, counts, ends, keywords, layout, lengths, word_games

KINDS: dict[str, Callable[..., bool]] = {
    **keywords.KINDS,
    **lengths.KINDS,
    **layout.KINDS,
    **ends.KINDS,
    **casing.KINDS,
    **counts.KINDS,
    **word_games.KINDS,
}
"""Every kind of instruction that can be checked."""
