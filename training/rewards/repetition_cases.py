"""Golden cases of reward `repetition`; by default 3-grams and a penalty of at most -1.

"one two three one two three": 4 trigrams, 3 of them distinct, so -(1 - 3/4) = -0.25.
"""

from training.rewards.cases import Case


def _case(completion: str, expected: float, why: str, **parameters: float) -> Case:
    return Case(completion, expected, why, parameters=parameters)


CASES = [
    _case("one two three four five", 0.0, "nothing repeats"),
    _case("one two three one two three", -0.25, "one trigram of four stood before"),
    _case("One, two; three. ONE two three!", -0.25, "case and punctuation do not hide it"),
    _case("again again again again again", -2 / 3, "three trigrams, one distinct"),
    _case("a b a b", -1 / 3, "bigrams: a b, b a, a b", ngram=2),
    _case("a a a a", -0.75, "single words", ngram=1),
    _case("one two three one two three", -0.125, "half the penalty", max_penalty=-0.5),
    _case("one two three one two three", 0.0, "no penalty", max_penalty=0.0),
    _case("我们我们我们", -0.5, "Han characters are words: 4 trigrams, 2 distinct"),
    _case("আমি যাই আমি যাই আমি যাই", -0.5, "Bengali: 4 trigrams, 2 distinct"),
    _case("", 0.0, "empty"),
    _case("one two", 0.0, "shorter than an n-gram"),
    _case("... !!! ---", 0.0, "no words at all"),
    _case("7 7 7 7", -0.5, "numbers are words: 2 trigrams, 1 distinct"),
    _case("the end " * 5000, -(1 - 2 / 9998), "a loop is close to the most"),
    _case("\u200b".join(["go"] * 6), -0.75, "invisible characters between words do not hide it"),
]
