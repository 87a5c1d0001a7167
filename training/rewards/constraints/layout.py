"""Instructions about the form of a text: bullets, sections, JSON, titles, placeholders, Markdown."""

import itertools
import json
import re
import string
from collections.abc import Callable

ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCE = re.compile(r"^```(?:json)?\s*\n?(.*?)\n?```$", re.DOTALL | re.IGNORECASE)


def bullet_lists(text: str, num_bullets: int) -> bool:
    """Exactly so many lines begin with * or - (a line that begins with ** is bold, no bullet)."""
    return len(re.findall(r"^[ \t]*(?:\*(?!\*)|-)[^\n]*$", text, re.MULTILINE)) == num_bullets


def highlighted_sections(text: str, num_highlights: int) -> bool:
    """At least so many parts are *highlighted* or **bold**, with something in them."""
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return sum(bool(part.strip("*").strip()) for part in found) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections begin with a word and a number, as "Section 1" (the data's spelling of splitter)."""
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


def json_format(text: str) -> bool:
    """The whole text is JSON, in a Markdown fence or not."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    try:
        json.loads(fenced[1] if fenced else stripped, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """A title stands in double angular brackets, <<so>>."""
    return any(part.strip(" <>") for part in re.findall(r"<<([^\n]*?)>>", text))


def constrained_response(text: str) -> bool:
    """One of the three answers of IFEval's instruction occurs."""
    return any(answer in text for answer in ANSWERS)


def placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many placeholders stand in square brackets, [address]."""
    return len(re.findall(r"\[[^\[\]]*\]", text)) >= num_placeholders


def options(text: str, options: str) -> bool:
    """The text is one of the options, which /, "or" or commas separate, and nothing else (IFBench).

    Letters (a, b, c) must be given exactly as listed; of words, case and punctuation around them do not matter.
    """
    separator = "/" if "/" in options else "or" if "or" in options else ","
    listed = [option.strip() for option in options.split(separator)]
    if re.match(r"\W*[aA]\W*[bB]\W*[cC]\W*", options):
        return text in listed
    return _bare(text) in [_bare(option) for option in listed]


def word_a_line(text: str) -> bool:
    """Every word stands on a line of its own (IFBench)."""
    bare = text.translate(str.maketrans("", "", string.punctuation)).strip()
    return len([line for line in bare.split("\n") if line]) == len(bare.split())


def stairs(text: str) -> bool:
    """Every line is indented by more spaces than the one before (IFBench)."""
    lines = [line for line in text.split("\n") if line.strip()]
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return all(later > earlier for earlier, later in itertools.pairwise(indents))


def separated_list(text: str, sep: str) -> bool:
    """A list of items marked by `sep` in place of bullets, at least two (IFBench)."""
    return text.count(sep) >= 2


def nested_parentheses(text: str) -> bool:
    """Brackets of any kind, rightly closed, are nested at least 5 deep (IFBench)."""
    closes = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    deepest = 0
    for character in text:
        if character in closes.values():
            opened.append(character)
            deepest = max(deepest, len(opened))
        elif character in closes:
            if opened and opened[-1] == closes[character]:
                if deepest >= 5:
                    return True
                opened.pop()
            else:
                opened, deepest = [], 0
    return False


def _bare(text: str) -> str:
    return text.strip(string.punctuation + " ").lower()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


KINDS: dict[str, Callable[..., bool]] = {
    "detectable_format:number_bullet_lists": bullet_lists,
    "detectable_format:number_highlighted_sections": highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "detectable_format:constrained_response": constrained_response,
    "detectable_content:number_placeholders": placeholders,
    "format:options": options,
    "format:newline": word_a_line,
    "format:line_indent": stairs,
    "format:list": separated_list,
    "format:parentheses": nested_parentheses,
}
