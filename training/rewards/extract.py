"""Finding the answer in a completion: the last complete tag, else the last \\boxed{}, else nothing explicit.

What a model thinks is not what it answers: <think> parts are removed first. No recursion and no backtracking regular
expressions, so hostile input (deep nesting, thousands of tags) costs linear time.
"""

import re

MIN_PROMPT = 20
"""Shortest prompt (characters) that is removed where a completion repeats it; a shorter one could be an answer."""

_LATEX_WRAPPERS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}")
_LATEX_SPACES = re.compile(r"\\[!,;:> ]|\\(?:left|right|quad|displaystyle)(?![a-zA-Z])|\{,\}")
_LATEX_MIXED = re.compile(r"(?<=\d)\s*(?=\\[dtc]?frac\s*[\d{])")
_LATEX_SHORT_FRACTION = re.compile(r"\\[dtc]?frac\s*(\d)\s*(\d)(?!\d)")
_LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s*\{\s*([-+]?[\d.]+)\s*\}\s*\{\s*([-+]?[\d.]+)\s*\}")


def visible_text(completion: str, prompt: str) -> str:
    """Return what the model says beside its thinking and beside repeating the prompt.

    A think part that is never closed is all thinking. Text before a lone </think> is thinking too: some templates
    open the part in the prompt.
    """
    parts: list[str] = []
    rest = completion
    while True:
        before, opening, after = rest.partition("<think>")
        closed = before.rfind("</think>")
        if closed >= 0:
            parts.clear()
            before = before[closed + len("</think>") :]
        parts.append(before)
        if not opening:
            break
        _, closing, rest = after.partition("</think>")
        if not closing:
            break
    text = " ".join(parts)
    if len(prompt.strip()) >= MIN_PROMPT:
        text = text.replace(prompt.strip(), " ")
    return text


def tagged(text: str) -> str | None:
    """Return the inside of the last complete <answer>...</answer>, None if there is none."""
    lowered = text.lower()
    if len(lowered) != len(text):  # A few letters change length in lower case; their positions would not fit.
        lowered = text
    found, begin = None, 0
    while (end := lowered.find("</answer>", begin)) >= 0:
        start = lowered.rfind("<answer>", begin, end)
        if start >= 0:
            found = text[start + len("<answer>") : end]
        begin = end + len("</answer>")
    return found


def boxed(text: str) -> str | None:
    """Return the inside of the last \\boxed{...} or \\fbox{...} whose braces balance, None if there is none."""
    end = len(text)
    while True:
        start = max(text.rfind("\\boxed{", 0, end), text.rfind("\\fbox{", 0, end))
        if start < 0:
            return None
        opening = text.index("{", start)
        closing = _closing_brace(text, opening, end)
        if closing is not None:
            return text[opening + 1 : closing]
        # What an earlier box holds must close before this one begins, else it would hold the broken box.
        end = start


def unwrap(answer: str) -> str:
    """Return an explicit answer without the LaTeX and Markdown around it: boxes, $...$, \\text{}, \\frac{1}{2} as
    1/2.
    """
    inner = boxed(answer)
    text = plain_latex(answer if inner is None else inner).strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            text = text[len(opening) : -len(closing)].strip()
    return text


def plain_latex(text: str) -> str:
    """Return `text` with LaTeX's text, spacing, fractions of two numbers and product signs as plain characters."""
    if "\\" not in text and "{,}" not in text:
        return text
    text = _LATEX_WRAPPERS.sub(r"\1", text)
    text = _LATEX_SPACES.sub(lambda match: "," if match[0] == "{,}" else "", text)
    text = _LATEX_MIXED.sub(" ", text)
    text = _LATEX_FRACTION.sub(r"\1/\2", _LATEX_SHORT_FRACTION.sub(r"\1/\2", text))
    for latex, plain in (
        ("\\times", "×"),
        ("\\cdot", "×"),
        ("\\%", "%"),
        ("\\$", ""),
        ("^\\circ", ""),
        ("^{\\circ}", ""),
    ):
        text = text.replace(latex, plain)
    return text


def _closing_brace(text: str, opening: int, end: int) -> int | None:
    depth = 0
    for place in range(opening, end):
        if text[place] == "{":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place
    return None
