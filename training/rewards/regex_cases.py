"""Golden cases of reward `regex`."""

from training.rewards.cases import Case

DATE = r"\b\d{4}-\d{2}-\d{2}\b"


def _case(completion: str, expected: float, why: str, pattern: str = DATE, **parameters: bool) -> Case:
    return Case(completion, expected, why, parameters={"pattern": pattern, **parameters})


CASES = [
    _case("On 2026-11-22.", 1.0, "found inside"),
    _case("first line\n2026-11-22", 1.0, "found in another line"),
    _case("2026-11-22", 1.0, "all of it", full=True),
    _case(" 2026-11-22\n", 1.0, "white space at the ends is left out", full=True),
    _case("a\nb", 1.0, "the dot matches line ends", pattern="a.b", full=True),
    _case("one\ntwo", 1.0, "^ and $ match at lines", pattern="^two$"),
    _case("YES", 1.0, "case ignored when asked", pattern="yes", ignore_case=True),
    _case("<think>2026-11-22</think>soon", 1.0, "thinking counts when asked", thinking=True),
    _case("২০২৬-১১-২২", 1.0, "digits of any script are digits"),
    _case("On 2026-11-22.", 0.0, "more than the pattern", full=True),
    _case("YES", 0.0, "case matters", pattern="yes"),
    _case("22.11.2026", 0.0, "another layout"),
    _case("", 0.0, "empty"),
    _case("None", 0.0, "None as a text"),
    _case("<think>2026-11-22</think>soon", 0.0, "thinking does not count"),
    _case("<think>2026-11-22", 0.0, "thinking that never ends"),
    _case("12026-11-223", 0.0, "digits around it"),
    _case(DATE, 0.0, "the pattern itself"),
    _case("-" * 50_000, 0.0, "long and hostile"),
]
