"""Words as rewards count them, in any script: letters and digits with their marks; a Han or kana character is one."""

import regex

_WORD = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]"
    r"|(?:(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}\p{M}])+"
    r"(?:['’](?:(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}\p{M}])+)*"
)


def words_of(text: str) -> list[str]:
    """Return the words of a text in order; an apostrophe inside a word belongs to it (don't)."""
    return _WORD.findall(text)
