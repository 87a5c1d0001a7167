"""Golden cases of reward `answer`: right, wrong, malformed and adversarial completions."""

from training.rewards.cases import Case


def _case(
    completion: str, answer: object, expected: float | None, why: str, prompt: str = "", **parameters: bool
) -> Case:
    return Case(completion, expected, why, prompt or "The question.", {"answer": answer}, parameters)


SUM_PROMPT = "State the final answer to the following arithmetic problem: 57 + 87 ="
FRACTION_PROMPT = "Simplify the fraction $17080/42490$ to its lowest terms."
SORTED = "['-48', '-5', '19.5']"

RIGHT = [
    _case("<answer>144</answer>", "144", 1.0, "the plain tag"),
    _case("57 + 87 = 144\n<answer>144</answer>", "144", 1.0, "reasoning, then the tag"),
    _case("<ANSWER> 144 </ANSWER>", "144", 1.0, "case and spaces of tags do not matter when lenient"),
    _case("<answer>144</answer>", 144, 1.0, "the expected answer may be a number"),
    _case("<answer>144.0</answer>", "144", 1.0, "trailing zero"),
    _case("<answer>1,440</answer>", "1440", 1.0, "thousands separator"),
    _case("<answer>12,34,567</answer>", "1234567", 1.0, "Indian grouping"),
    _case("<answer>1\u202f440</answer>", "1440", 1.0, "thin space between groups"),
    _case("<answer>\u22125</answer>", "-5", 1.0, "the minus sign of Unicode"),
    _case("<answer>- 5</answer>", "-5", 1.0, "a space behind the sign"),
    _case("<answer>0.5</answer>", "1/2", 1.0, "decimal for a fraction"),
    _case("<answer>\\frac{1}{2}</answer>", "1/2", 1.0, "LaTeX fraction"),
    _case("<answer>1.44e2</answer>", "144", 1.0, "scientific notation"),
    _case("<answer>x = 144</answer>", "144", 1.0, "an equation that names one value"),
    _case("<answer>57 + 87 = 144</answer>", "144", 1.0, "working inside the tag, its result last"),
    _case("<answer>144 legs</answer>", "144", 1.0, "a unit"),
    _case("<answer>$144</answer>", "144", 1.0, "a currency sign"),
    _case("<answer>**144**</answer>", "144", 1.0, "bold"),
    _case("<answer>\\boxed{144}</answer>", "144", 1.0, "a box in the tag"),
    _case("So it is \\boxed{144}.", "144", 1.0, "a box without a tag"),
    _case("\\boxed{7} no, \\boxed{\\frac{1}{2}}", "1/2", 1.0, "the last box, braces nested"),
    _case("<answer>7</answer> Wait. <answer>144</answer>", "144", 1.0, "the last complete tag counts"),
    _case("<answer>144</answer> and <answer>7", "144", 1.0, "an unclosed tag behind a complete one is no tag"),
    _case("<answer>144", "144", 1.0, "an unclosed tag is no tag, the last value is found all the same"),
    _case("The answer is 144.", "144", 1.0, "no tag, a full stop behind the number"),
    _case("57 + 87 = 144", "144", 1.0, "no tag, an equation"),
    _case("The result is $\\frac{1}{2}$.", "1/2", 1.0, "no tag, LaTeX in the text"),
    _case(f"{SUM_PROMPT} 144", "144", 1.0, "the prompt repeated, then an answer", SUM_PROMPT),
    _case("<think>7</think>144", "144", 1.0, "thinking first"),
    _case("7 or 8?</think>\n<answer>144</answer>", "144", 1.0, "thinking opened by the template"),
    _case("<answer>١٤٤</answer>", "144", 1.0, "Arabic-Indic digits"),
    _case("الجواب هو ١٤٤", "144", 1.0, "Arabic-Indic digits, no tag"),
    _case("<answer>١٬٤٤٠٫٥</answer>", "1440.5", 1.0, "Arabic separators"),
    _case("উত্তর: ১৪৪", "144", 1.0, "Bengali digits"),
    _case("<answer>१४४</answer>", "144", 1.0, "Devanagari digits"),
    _case("<answer>１４４</answer>", "144", 1.0, "fullwidth digits"),
    _case("<answer>144</answer>", "१४४", 1.0, "the expected answer in another script"),
    _case("<answer>\u2066-5\u2069</answer>", "-5", 1.0, "invisible direction marks"),
    _case(f"<answer>{SORTED}</answer>", SORTED, 1.0, "a list as asked"),
    _case("<answer>-48, -5, 19.50</answer>", SORTED, 1.0, "a list without brackets and quotes"),
    _case('Sorted: ["-48", "-5", "19.5"]', SORTED, 1.0, "a list without a tag"),
    _case("The sorted numbers are -48, -5, 19.5.", SORTED, 1.0, "a list at the end of a sentence"),
    _case("<answer>[]</answer>", "[]", 1.0, "an empty list"),
    _case("<answer>Nodosaria</answer>", "nodosaria", 1.0, "case of words does not matter"),
    _case("The word is 'airasodon'.", "airasodon", 1.0, "a word in quotes, no tag"),
    _case("sun -> nus", "nus", 1.0, "a word behind an arrow, no tag"),
    _case("It was Tuesday, I believe.", "Tuesday", 1.0, "the only weekday named"),
    _case("SIR DO NOT COUNT", "SIR DO NOT COUNT", 1.0, "several words, no tag"),
    _case("<answer>2 * 2 * 3</answer>", "2 × 2 × 3", 1.0, "another sign for times"),
    _case("<answer>$(x+1)^2$</answer>", "x**2 + 2*x + 1", 1.0, "equal expressions, by math-verify"),
    _case("<answer>8+3i</answer>", "8.0 + 3.0i", 1.0, "complex numbers, by math-verify"),
    _case("\\boxed{2\\sqrt{2}}", "$\\sqrt{8}$", 1.0, "equal roots, by math-verify"),
    _case("<answer>" + "9" * 5000 + "</answer>", "9" * 5000, 1.0, "a giant number equals itself as a text"),
    _case("<answer></answer>", "", 1.0, "an empty answer where the expected one is empty"),
]

WRONG = [
    _case("<answer>143</answer>", "144", 0.0, "another number"),
    _case("<answer>-144</answer>", "144", 0.0, "the sign matters"),
    _case("<answer>1440</answer>", "144", 0.0, "a number that begins with the answer"),
    _case("<answer>14.4</answer>", "144", 0.0, "the decimal point matters"),
    _case("<answer>144</answer> no, <answer>7</answer>", "144", 0.0, "the last tag counts, not the best"),
    _case("The answer is 144, not 7", "144", 0.0, "the last value counts"),
    _case("<answer>-5, -48, 19.5</answer>", SORTED, 0.0, "a list in another order"),
    _case("<answer>-48, -5</answer>", SORTED, 0.0, "a list too short"),
    _case("<answer>(x+2)^2</answer>", "x**2 + 2*x + 1", 0.0, "another expression"),
    _case("It was Tuesday or Wednesday", "Tuesday", 0.0, "the last weekday named is another"),
]

MALFORMED = [
    _case("", "144", 0.0, "empty"),
    _case("   \n\t", "144", 0.0, "white space"),
    _case("None", "144", 0.0, "None as a text"),
    _case("null", "0", 0.0, "null is not zero"),
    _case("nan", "0", 0.0, "nan is not zero"),
    _case("I do not know.", "144", 0.0, "no value at all"),
    _case("<answer></answer>", "144", 0.0, "an empty tag"),
    _case("144 <answer></answer>", "144", 0.0, "an empty tag is an explicit answer, and wrong"),
    _case("</answer>144<answer>", "144", 1.0, "tags the wrong way round are no tag, the last value is found"),
    _case("\\boxed{144", "144", 1.0, "an unclosed box is no box, the last value is found"),
    _case("<answer>144</answer>", None, None, "no expected answer: not applicable"),
]

ADVERSARIAL = [
    _case("<answer>7 or 8</answer>", "7", 0.0, "two answers in the tag, the first right"),
    _case("<answer>7 or 8</answer>", "8", 0.0, "two answers in the tag, the second right"),
    _case("<answer>7, 8</answer>", "8", 0.0, "a list of guesses"),
    _case("The answer is 7 or 8", "8", 0.0, "a guess without a tag, the second right"),
    _case("The answer is 7 or maybe 8", "8", 0.0, "a guess in more words"),
    _case("<answer>not 7</answer>", "7", 0.0, "a denial"),
    _case(" ".join(str(n) for n in range(200)), "144", 0.0, "every number in turn"),
    _case("<answer>" + " ".join(str(n) for n in range(200)) + "</answer>", "144", 0.0, "every number in the tag"),
    _case("<think><answer>144</answer></think>I cannot tell.", "144", 0.0, "the answer in the thinking only"),
    _case("<think>It is 144", "144", 0.0, "thinking that never ends"),
    _case("It is 144</think>I cannot tell.", "144", 0.0, "thinking opened by the template"),
    _case(
        "<answer>57 + 87</answer>", "144", 0.0, "the question as the answer: arithmetic is not evaluated", SUM_PROMPT
    ),
    _case("<answer>12*12</answer>", "144", 0.0, "a product is not evaluated"),
    _case("<answer>12^2</answer>", "144", 0.0, "a power is not evaluated"),
    _case("<answer>\\sqrt{144}</answer>", "144", 0.0, "a root is not its radicand"),
    _case("<answer>144²</answer>", "144", 0.0, "a square is not its base"),
    _case("<answer>12²</answer>", "122", 0.0, "a superscript is not a digit"),
    _case(SUM_PROMPT, "87", 0.0, "the prompt repeated, which ends in a number", SUM_PROMPT),
    _case("<answer>17080/42490</answer>", "$244/607$", 0.0, "the question's fraction, not simplified", FRACTION_PROMPT),
    _case("<answer>245</answer>", "5 × 7 × 7", 0.0, "the number is not its factorisation"),
    _case("<answer>(x^2-1)/(x-1)</answer>", "x+1", 0.0, "the expression asked about", "Simplify (x^2 - 1)/(x - 1)."),
    _case("x144", "144", 0.0, "a number inside a word"),
    _case("0x144", "0", 0.0, "the 0 of a hexadecimal number"),
    _case("9" * 5000, "144", 0.0, "a giant number"),
    _case("<answer>" + "9" * 5000 + "</answer>", "144", 0.0, "a giant number in the tag"),
    _case("<answer>1e999999</answer>", "144", 0.0, "a giant exponent"),
    _case("<answer>1e-999999999999</answer>", "0", 0.0, "a giant negative exponent is not zero"),
    _case("<answer>1/0</answer>", "0", 0.0, "division by zero"),
    _case("<answer>9^{9^{9^{9}}}</answer>", "x+1", 0.0, "a tower of powers is not computed"),
    _case("<answer>(((x+1)^99)^99)!</answer>", "x+1", 0.0, "an expression sympy would never finish"),
    _case("<answer>" + "(" * 3000 + "x" + ")" * 3000 + "</answer>", "x+1", 0.0, "deep brackets"),
    _case("<answer>" * 3000 + "144" + "</answer>" * 3000, "7", 0.0, "deep tags"),
    _case("\\boxed{" * 3000 + "144", "7", 0.0, "deep boxes"),
    _case("<think>" * 3000 + "144", "144", 0.0, "deep thinking"),
    _case("<answer>\x00\ud7ff\uffff\U0001f600</answer>", "144", 0.0, "odd characters"),
]

STRICT = [
    _case("<answer>144</answer>", "144", 1.0, "strict takes the tag", strict=True),
    _case("The answer is 144", "144", 0.0, "strict takes no bare value", strict=True),
    _case("\\boxed{144}", "144", 0.0, "strict takes no box without a tag", strict=True),
    _case("<answer>144", "144", 0.0, "strict takes no unclosed tag", strict=True),
    _case("anything", None, None, "no expected answer: not applicable", strict=True),
]

CASES = RIGHT + WRONG + MALFORMED + ADVERSARIAL + STRICT
