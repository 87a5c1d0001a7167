"""Golden cases of reward `exact`."""

from training.rewards.cases import Case


def _case(completion: str, expected: float | None, why: str, answer: object = "Straße 7", **parameters: bool) -> Case:
    return Case(completion, expected, why, columns={"answer": answer}, parameters=parameters)


CASES = [
    _case("Straße 7", 1.0, "the text"),
    _case("<answer>Straße 7</answer>", 1.0, "the text in a tag"),
    _case("  Straße\n 7 ", 1.0, "white space is one space"),
    _case("So: <answer>Straße 7</answer> done", 1.0, "only the tag counts"),
    _case("<think>Gasse</think>Straße 7", 1.0, "thinking does not count"),
    _case("cafe\u0301", 1.0, "composed and decomposed letters are one", answer="café"),
    _case("7", 1.0, "a number as expected text", answer=7),
    _case("STRASSE 7", 1.0, "case folded", ignore_case=True),
    _case("Straße, 7!", 1.0, "punctuation left out", ignore_punctuation=True),
    _case("Straße 8", 0.0, "another text"),
    _case("straße 7", 0.0, "case matters by default"),
    _case("Straße 7.", 0.0, "punctuation matters by default"),
    _case("Straße7", 0.0, "a space is missing"),
    _case("It is Straße 7", 0.0, "nothing is extracted from a sentence"),
    _case("", 0.0, "empty"),
    _case("", 1.0, "an empty text where it is expected", answer=""),
    _case("anything", None, "no expected text: not applicable", answer=None),
    _case("<answer></answer>", 0.0, "an empty tag"),
    _case("<answer>Straße 7", 0.0, "an unclosed tag is text"),
    _case("Straße 7 Straße 7", 0.0, "twice"),
    _case("<answer>Straße 7</answer><answer>Straße 8</answer>", 0.0, "the last tag counts"),
    _case("<think>Straße 7", 0.0, "thinking that never ends"),
    _case("Ｓtraße 7", 0.0, "fullwidth letters are other letters"),
    _case("Straße 7\u200b", 0.0, "an invisible character is a character"),
    _case("!!!", 1.0, "nothing but punctuation equals nothing", answer="", ignore_punctuation=True),
]
