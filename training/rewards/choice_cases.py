"""Golden cases of reward `choice`."""

from training.rewards.cases import Case

PROMPT = "Which one barks?\nA. a cat\nB. a dog\nC. a fish\nD. all of them"


def _case(completion: str, expected: float | None, why: str, answer: object = "B", **parameters: bool) -> Case:
    return Case(completion, expected, why, PROMPT, {"answer": answer}, parameters)


CASES = [
    _case("<answer>B</answer>", 1.0, "the letter in the tag"),
    _case("<answer>b</answer>", 1.0, "case does not matter"),
    _case("<answer>(B)</answer>", 1.0, "brackets"),
    _case("<answer>B.</answer>", 1.0, "a full stop"),
    _case("<answer>**B**</answer>", 1.0, "bold"),
    _case("<answer>B. a dog</answer>", 1.0, "the letter with its option"),
    _case("<answer>(B) a dog</answer>", 1.0, "the letter in brackets with its option"),
    _case("<answer>a dog</answer>", 1.0, "the option without its letter"),
    _case("\\boxed{B}", 1.0, "a box"),
    _case("\\boxed{\\text{B}}", 1.0, "LaTeX text in a box"),
    _case("A cat does not. The answer is B.", 1.0, "stated in a sentence"),
    _case("The answer is (B), a dog.", 1.0, "stated with its option"),
    _case("Answer: **B**", 1.0, "stated after a colon, bold"),
    _case("The correct option is B", 1.0, "the word option"),
    _case("Dogs bark.\nB", 1.0, "a last line that is a letter"),
    _case("Dogs bark.\nB. a dog", 1.0, "a last line that is an option"),
    _case("<think>A?</think>The answer is B", 1.0, "thinking does not count"),
    _case("<answer>A</answer><answer>B</answer>", 1.0, "the last tag counts"),
    _case("<answer>A</answer>", 0.0, "another letter"),
    _case("<answer>a cat</answer>", 0.0, "another option"),
    _case("<answer>B. a cat</answer>", 0.0, "the letter with another option's text"),
    _case("The answer is A", 0.0, "another letter stated"),
    _case("The answer is B. No, the answer is C", 0.0, "the last statement counts"),
    _case("", 0.0, "empty"),
    _case("None", 0.0, "None as a text"),
    _case("I do not know", 0.0, "no letter"),
    _case("<answer></answer>", 0.0, "an empty tag"),
    _case("B <answer></answer>", 0.0, "an empty tag is explicit, and wrong"),
    _case("<answer>B</answer>", None, "no expected answer: not applicable", answer=None),
    _case("<answer>2</answer>", 0.0, "a number is no letter"),
    _case("<answer>B or C</answer>", 0.0, "two letters, the first right"),
    _case("<answer>A, B, C, D</answer>", 0.0, "every letter"),
    _case("<answer>ABCD</answer>", 0.0, "every letter without spaces"),
    _case("The answer is B or C", 0.0, "a hedge in a sentence"),
    _case("The answer is B, C", 0.0, "a list in a sentence"),
    _case("The answer is B and D", 0.0, "two in a sentence"),
    _case("A cat is no dog", 0.0, "the article A is no choice", answer="A"),
    _case("The answer is a matter of taste", 0.0, "the article after is", answer="A"),
    _case("The answer is Dog", 0.0, "a word that begins with a letter", answer="D"),
    _case(PROMPT, 0.0, "the question repeated", answer="D"),
    _case("<think>The answer is B", 0.0, "thinking that never ends"),
    _case("The answer is not B", 0.0, "a denial"),
    _case("B " * 20_000, 0.0, "the letter many times"),
    _case("<answer>B</answer>", 1.0, "strict takes the tag", strict=True),
    _case("The answer is B", 0.0, "strict takes nothing else", strict=True),
]
