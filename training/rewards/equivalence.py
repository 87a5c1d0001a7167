"""The edge to math-verify: are two mathematical expressions equal? Off the main thread too, and always in bounded work.

math-verify bounds its work with signal.alarm, which only the main thread may use (elsewhere it raises, and whoever
caught that gave every answer 0). We turn its timeouts off and refuse beforehand what sympy might never finish: long
texts, tall powers.
"""

import re
from functools import lru_cache

MAX_LENGTH = 200
MAX_POWER = 20
MAX_POWERS = 8
_TOO_MUCH = re.compile(r"\d{21}|!|\\binom|\\sum|\\prod|\\int|factorial")
_POWER = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*(\d*)")


@lru_cache(maxsize=4096)
def equivalent(expected: str, given: str) -> bool:
    """Return whether math-verify finds two expressions (LaTeX or Python-like) equal; False for what it cannot read."""
    if not (_affordable(expected) and _affordable(given)):
        return False
    from math_verify import grader, parse, parser, verify

    # Both modules log one warning that timeouts are off; here that is deliberate and bounded by _affordable.
    parser.TIMEOUT_WARNING_SHOWN = True
    grader.TIMEOUT_WARNING_SHOWN = True
    sides = [parse(f"${_latex(text)}$", parsing_timeout=None) for text in (expected, given)]
    return all(sides) and bool(verify(sides[0], sides[1], timeout_seconds=None))


def _affordable(text: str) -> bool:
    """Whether sympy can be trusted to finish with `text`: powers of powers grow without end, so there may be few."""
    if len(text) > MAX_LENGTH or _TOO_MUCH.search(text):
        return False
    powers = _POWER.findall(text)
    nested = re.search(r"(?:\^|\*\*)[\s{(\d.a-zA-Z]*(?:\^|\*\*)", text)
    depth = max(text.count(opening) for opening in "({[")
    return len(powers) <= MAX_POWERS and not nested and depth <= 20 and all(int(p or 0) <= MAX_POWER for p in powers)


def _latex(text: str) -> str:
    """Return `text` with Python's operators as LaTeX's, which math-verify's parser expects between dollars."""
    text = re.sub(r"\bsqrt\(([^()]*)\)", r"\\sqrt{\1}", text.replace("**", "^").replace("*", " "))
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    return re.sub(r"(?<![\\a-zA-Z])(sin|cos|tan|exp|log|ln)\(", r"\\\1(", text)
