"""The edge to math-verify: are two mathematical expressions equal? Off the main thread too, and always in bounded work.

math-verify bounds its work with signal.alarm, which only the main thread may use (elsewhere it raises, and whoever
caught that gave every answer 0). We turn its timeouts off and refuse beforehand what sympy might never finish: long
texts, tall powers.
"""

import re
from functools import lru_cache
from typing import Any

MAX_LENGTH = 200
MAX_POWER = 20
MAX_POWERS = 8
FAR_APART, FAR_APART_ROUNDED = 1e-9, 1e-4
"""Relative differences beyond which two values are not one: exact ones, and those where a decimal may be rounded."""

_TOO_MUCH = re.compile(r"\d{21}|!|\\binom|\\sum|\\prod|\\int|factorial")
_POWER = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*(\d*)")


@lru_cache(maxsize=4096)
def equivalent(expected: str, given: str) -> bool:
    """Return whether math-verify finds two expressions (LaTeX or Python-like) equal; False for what it cannot read."""
    if not (_affordable(expected) and _affordable(given)):
        return False
    from math_verify import verify

    sides = [_parsed(expected), _parsed(given)]
    if not all(sides):
        return False
    quick = _quickly(sides[0][0], sides[1][0])
    return bool(verify(sides[0], sides[1], timeout_seconds=None)) if quick is None else quick


@lru_cache(maxsize=4096)
def _parsed(text: str) -> list[Any]:
    """What math-verify reads in a text, empty where it can read nothing; kept, since a group shares its answer."""
    from math_verify import grader, parse, parser

    # Both modules log one warning that timeouts are off; here that is deliberate and bounded by _affordable.
    parser.TIMEOUT_WARNING_SHOWN = True
    grader.TIMEOUT_WARNING_SHOWN = True
    found: list[Any] = parse(f"${_latex(text)}$", parsing_timeout=None)
    return found


def _quickly(expected: Any, given: Any) -> bool | None:
    """Whether two expressions are equal, where that shows without sympy's simplify, which takes most of the time.

    Equal once expanded, or far apart at some point; None for what neither shows, and for all that is no expression.
    """
    from sympy import Expr, Float, Rational, expand

    if not isinstance(expected, Expr) or not isinstance(given, Expr):
        return None
    symbols = sorted(expected.free_symbols | given.free_symbols, key=str)
    try:
        if expand(expected - given) == 0:
            return True
        point = {symbol: Rational(17 + 6 * place, 13) for place, symbol in enumerate(symbols)}
        mine, theirs = (complex(side.subs(point).evalf(15)) for side in (expected, given))
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        return None
    limit = FAR_APART_ROUNDED if expected.has(Float) or given.has(Float) else FAR_APART
    return False if abs(mine - theirs) > limit * max(1.0, abs(mine)) else None


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
