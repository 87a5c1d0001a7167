"""Golden cases of reward `instructions`: for every kind what follows it, what does not, and what only looks as if."""

from typing import Any

from training.rewards.cases import Case

Row = tuple[str, dict[str, Any], str, bool, str]
PALINDROMES = "level civic radar rotor kayak madam refer tenet rotator deified"
EN = "The weather is nice today and we are going to the park with our friends."
UR = "آج موسم بہت اچھا ہے اور ہم اپنے دوستوں کے ساتھ باغ میں جا رہے ہیں۔"

KEYWORDS: list[Row] = [
    ("keywords:existence", {"keywords": ["rain", "sun"]}, "Rain, then sun.", True, "both there"),
    ("keywords:existence", {"keywords": ["rain", "sun"]}, "RAIN and SUNSHINE", True, "case and endings"),
    ("keywords:existence", {"keywords": ["rain", "sun"]}, "Only rain.", False, "one is missing"),
    ("keywords:existence", {"keywords": ["a.c"]}, "abc", False, "a keyword is no pattern"),
    ("keywords:frequency", {"keyword": "go", "frequency": 3}, "go go Go", True, "three times"),
    ("keywords:frequency", {"keyword": "go", "frequency": 3}, "go go", False, "twice only"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "less than"}, "go", True, "fewer"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "less than"}, "go go", False, "not fewer"),
    ("keywords:forbidden_words", {"forbidden_words": ["bad"]}, "All is badly made.", True, "a part of a word is free"),
    ("keywords:forbidden_words", {"forbidden_words": ["bad"]}, "That is BAD.", False, "case does not hide it"),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 2}, "see", True, "case does not matter"),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 3}, "see", False, "too few"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2}, "# a\n# b", True, "any character"),
    (
        "count:keywords_multiple",
        {f"keyword{n}": word for n, word in enumerate(("aa", "bb", "cc", "dd", "ee"), 1)},
        "aa " + "bb " * 2 + "cc " * 3 + "dd " * 5 + "ee " * 7,
        True,
        "1, 2, 3, 5 and 7 times",
    ),
    (
        "count:keywords_multiple",
        {f"keyword{n}": word for n, word in enumerate(("aa", "bb", "cc", "dd", "ee"), 1)},
        "aa bb cc dd ee",
        False,
        "once each",
    ),
    ("sentence:keyword", {"word": "dog", "N": 2}, "A cat sat. A Dog ran.", True, "in the second sentence"),
    ("sentence:keyword", {"word": "dog", "N": 2}, "A dog ran. A cat sat.", False, "in the first sentence"),
    ("sentence:keyword", {"word": "dog", "N": 3}, "A dog ran.", False, "no third sentence"),
    ("words:repeats", {"small_n": 2}, "go, Go and stay", True, "twice"),
    ("words:repeats", {"small_n": 2}, "go go GO", False, "three times"),
]
LENGTHS: list[Row] = [
    ("length_constraints:number_words", {"num_words": 3}, "one two three", True, "enough"),
    ("length_constraints:number_words", {"num_words": 4}, "one - two! three", False, "marks are no words"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", True, "fewer"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two three", False, "not fewer"),
    ("length_constraints:number_words", {"num_words": 2}, "سلام دنیا", True, "words of any script"),
    ("length_constraints:number_sentences", {"num_sentences": 2}, "Go! Now.", True, "two"),
    ("length_constraints:number_sentences", {"num_sentences": 2}, "Dr. Who has 3.14 apples.", False, "one sentence"),
    ("length_constraints:number_sentences", {"num_sentences": 2}, "走吧。现在走。", True, "Chinese full stops"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "One", True, "no end mark"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", True, "two"),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "one\n\ntwo",
        False,
        "blank lines separate nothing",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** *** two", False, "an empty one between"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        'First this.\n\n"then" that.',
        True,
        "quotes and case do not matter",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First this.\n\nThence that.",
        False,
        "another word",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "then"},
        "First.\n\nthen.",
        False,
        "too few paragraphs",
    ),
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "one two three", True, "the upper end"),
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "one", False, "below"),
    ("count:word_count_range", {"min_words": 2, "max_words": 3}, "a b c d", False, "above"),
]
LAYOUT: list[Row] = [
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", True, "either mark"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two\n* three", False, "exactly so many"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "**Bold** start", False, "bold is no bullet"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", True, "both kinds"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "** ** * *", False, "empty ones"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\none\nSECTION 2\ntwo",
        True,
        "two sections",
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "Section 1\none\nSection 2\ntwo",
        False,
        "case matters",
    ),
    ("detectable_format:json_format", {}, '{"a": [1, null]}', True, "JSON"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', True, "in a fence"),
    ("detectable_format:json_format", {}, 'Here: {"a": 1}', False, "text around it"),
    ("detectable_format:json_format", {}, "{'a': 1}", False, "Python is not JSON"),
    ("detectable_format:json_format", {}, "NaN", False, "NaN is not JSON"),
    ("detectable_format:json_format", {}, "[" * 100_000, False, "deep and unclosed"),
    ("detectable_format:title", {}, "<<The Sea>>\ntext", True, "a title"),
    ("detectable_format:title", {}, "<< >> text", False, "an empty title"),
    ("detectable_format:title", {}, "<The Sea>", False, "single brackets"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", True, "one of the three"),
    ("detectable_format:constrained_response", {}, "My answer is perhaps.", False, "another"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] lives in [city]", True, "two"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] lives", False, "one"),
    ("format:options", {"options": "yes/no/maybe"}, "Maybe.", True, "case and marks"),
    ("format:options", {"options": "yes/no/maybe"}, "yes, because", False, "an explanation"),
    ("format:options", {"options": "a), b), c), d)"}, "b)", True, "a letter as listed"),
    ("format:options", {"options": "a), b), c), d)"}, "B", False, "a letter not as listed"),
    ("format:newline", {}, "one\ntwo\n\nthree", True, "a word a line"),
    ("format:newline", {}, "one two\nthree", False, "two on a line"),
    ("format:line_indent", {}, "a\n b\n   c", True, "stairs"),
    ("format:line_indent", {}, "a\n b\n b", False, "not deeper"),
    ("format:list", {"sep": "!?"}, "!? one\n!? two", True, "two items"),
    ("format:list", {"sep": "!?"}, "!? one", False, "one item"),
    ("format:parentheses", {}, "(a [b {c (d [e] ) } ] )", True, "five deep"),
    ("format:parentheses", {}, "((((a))))", False, "four deep"),
    ("format:parentheses", {}, "(((((", False, "never closed"),
]
ENDS: list[Row] = [
    ("startend:end_checker", {"end_phrase": "The end."}, 'So it was. the END."', True, "case and a quote behind"),
    ("startend:end_checker", {"end_phrase": "The end."}, "The end. Or not.", False, "more follows"),
    ("startend:quotation", {}, '"All of it."', True, "quoted"),
    ("startend:quotation", {}, '"Some" of it', False, "a part is quoted"),
    ("startend:quotation", {}, '"', False, "a lone quote"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. One more.", True, "a postscript"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. one more", True, "spaces and case"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye, no postscript", False, "none"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.S. One more.", False, "one P too few"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. I said it.", True, "repeated first"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "I said: Say it.", False, "not at the start"),
    ("combination:two_responses", {}, "one\n******\ntwo", True, "two"),
    ("combination:two_responses", {}, "one\n******\none", False, "the same twice"),
    ("combination:two_responses", {}, "one ****** two ****** three", False, "three"),
]
CASING: list[Row] = [
    ("change_case:english_capital", {}, EN.upper(), True, "capitals"),
    ("change_case:english_capital", {}, EN, False, "mixed"),
    ("change_case:english_lowercase", {}, EN.lower(), True, "small letters"),
    ("change_case:english_lowercase", {}, EN, False, "one capital"),
    ("change_case:english_lowercase", {}, UR, False, "no English"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2}, "GO, NOW please", True, "two words"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2}, "GO now", False, "one word"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        "GO now",
        True,
        "fewer",
    ),
    ("punctuation:no_comma", {}, "No such mark here.", True, "none"),
    ("punctuation:no_comma", {}, "Well, one.", False, "one"),
    ("punctuation:no_comma", {}, "سلام، دنیا", False, "an Arabic comma"),
    ("language:response_language", {"language": "en"}, EN, True, "English"),
    ("language:response_language", {"language": "ur"}, UR, True, "Urdu"),
    ("language:response_language", {"language": "ur"}, EN, False, "English in place of Urdu"),
]
COUNTS: list[Row] = [
    ("count:unique_word_count", {"N": 2}, "go Go stay", True, "two different"),
    ("count:unique_word_count", {"N": 3}, "go, go! stay", False, "marks make no new word"),
    ("count:conjunctions", {"small_n": 2}, "Cats and dogs, but no fish", True, "two different"),
    ("count:conjunctions", {"small_n": 2}, "this and that and more", False, "one, twice"),
    ("count:person_names", {"N": 2}, "Emma met Liam.", True, "two names"),
    ("count:person_names", {"N": 2}, "Emma met Emma.", False, "one name twice"),
    ("count:numbers", {"N": 2}, "3.5 of 10", True, "a decimal is one number"),
    ("count:numbers", {"N": 2}, "3 of 10 and 4", False, "three numbers"),
    ("count:pronouns", {"N": 3}, "She/her told me", True, "slashes separate"),
    ("count:pronouns", {"N": 3}, "The cat sat", False, "none"),
    ("count:punctuation", {}, "Well, no; yes: so! Why? Really?! Done.", True, "all marks"),
    ("count:punctuation", {}, "Well, no; yes: so! Why? Done.", False, "no interrobang"),
    ("custom:multiples", {}, "14, 21, 28, 35, 42, 49", True, "in order"),
    ("custom:multiples", {}, "7, 14, 21, 28, 35, 42, 49", False, "7 is below 10"),
]
WORD_GAMES: list[Row] = [
    ("words:alphabet", {}, "A big cat", True, "a, b, c"),
    ("words:alphabet", {}, "Yes, zebras ate", True, "a after z"),
    ("words:alphabet", {}, "A cat", False, "b is missing"),
    ("words:alphabet", {}, "1 a b", False, "a number first"),
    ("words:vowel", {}, "a cat sits on top", True, "a, i, o"),
    ("words:vowel", {}, "a cat sits on the top", False, "a, i, o, e"),
    ("words:vowel", {}, "a cat\na cat", False, "two paragraphs"),
    ("words:consonants", {}, "strong winds blast", True, "every word"),
    ("words:consonants", {}, "strong winds are", False, "one word has none"),
    ("words:palindrome", {}, PALINDROMES, True, "ten"),
    ("words:palindrome", {}, PALINDROMES.replace("level ", ""), False, "nine"),
    ("words:palindrome", {}, "aba " * 20, False, "too short"),
    ("words:prime_lengths", {}, "to the point", True, "2, 3, 5"),
    ("words:prime_lengths", {}, "to that point", False, "4"),
    ("words:no_consecutive", {}, "big cats run", True, "b, c, r"),
    ("words:no_consecutive", {}, "big brown cats", False, "b, b"),
    ("words:paragraph_last_first", {}, "Rain brings rain.\nSun brings sun.", True, "each line"),
    ("words:paragraph_last_first", {}, "Rain brings sun.", False, "another word"),
]
ROWS = KEYWORDS + LENGTHS + LAYOUT + ENDS + CASING + COUNTS + WORD_GAMES


def _case(completion: str, expected: float | None, why: str, *asked: tuple[str, dict[str, Any]], **more: str) -> Case:
    columns = {"instruction_id_list": [kind for kind, _ in asked], "kwargs": [given for _, given in asked]}
    return Case(completion, expected, why, columns=columns, parameters=more)


NO_COMMA = ("punctuation:no_comma", {"num_words": None})
SHORT = ("length_constraints:number_words", {"num_words": 3, "relation": "less than", "keywords": None})
WHOLE = [
    _case("Go now", 1.0, "two of two", NO_COMMA, SHORT),
    _case("Go, now", 0.5, "one of two", NO_COMMA, SHORT),
    _case("Go, now or never", 0.0, "none of two", NO_COMMA, SHORT),
    _case("Go, now", 0.0, "all or nothing", NO_COMMA, SHORT, score="all"),
    _case("Go now", 1.0, "all", NO_COMMA, SHORT, score="all"),
    _case("", 0.0, "empty follows nothing, though it holds no comma", NO_COMMA, SHORT),
    _case("<think>Well, then</think>Go now", 1.0, "thinking is not looked at", NO_COMMA),
    _case("<think>Go now", 0.0, "thinking that never ends is no answer", NO_COMMA),
    _case("anything", None, "no instruction: not applicable"),
]
CASES = [
    *(_case(text, float(follows), f"{kind}: {why}", (kind, given)) for kind, given, text, follows, why in ROWS),
    *WHOLE,
]
