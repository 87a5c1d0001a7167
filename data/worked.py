"""Short worked answers for generated questions: a few lines of reasoning, then the tagged answer.

They are what SFT trains on, so they are as short as the reasoning allows (a small model reads a few hundred of
them), and each ends in an answer computed by the steps themselves and compared with the generator's. A family
without steps gets the tagged answer alone.
"""

import ast
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

WORKED_VERSION = 1
"""Raised when the text of any worked answer changes: it is part of the identity of the data made with it."""

Steps = tuple[list[str], str]
"""The lines of reasoning, and the answer they arrive at."""


def bare_answer(answer: str) -> str:
    """Return the answer in its tag."""
    return f"<answer>{answer}</answer>"


def worked_answer(family: str, question: str, answer: str, metadata: Mapping[str, Any]) -> str:
    """Return reasoning lines for `family` (a key of WORKED), then the tagged answer; the tagged answer alone for
    other families.

    `metadata` is reasoning-gym's own of the item. The steps compute the answer independently: that they meet
    `answer` is asserted.
    """
    if family not in WORKED:
        return bare_answer(answer)
    lines, result = WORKED[family](question, metadata)
    assert result == answer, f"{family}: the worked steps of {question!r} end in {result}, the answer is {answer}"
    return "\n".join([*lines, bare_answer(answer)])


def _chain_sum(question: str, metadata: Mapping[str, Any]) -> Steps:
    """57 + 87 - 70 becomes 57 + 87 = 144, 144 - 70 = 74."""
    return _left_to_right(metadata["expression"], int)


def _decimal_chain_sum(question: str, metadata: Mapping[str, Any]) -> Steps:
    return _left_to_right(metadata["expression"], Decimal)


def _left_to_right(expression: str, number: Callable[[str], Any]) -> Steps:
    terms = expression.split()
    total = number(terms[0])
    lines = []
    for sign, text in zip(terms[1::2], terms[2::2], strict=True):
        value = number(text)
        new = total + value if sign == "+" else total - value
        lines.append(f"{total} {sign} {text} = {new}")
        total = new
    return lines, str(total)


def _basic_arithmetic(question: str, metadata: Mapping[str, Any]) -> Steps:
    """One operation a line, in the order of evaluation."""
    lines: list[str] = []
    return lines, str(exact_value(metadata["expression"], lines))


OPERATIONS: dict[type, tuple[str, Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: ("+", lambda left, right: left + right),
    ast.Sub: ("-", lambda left, right: left - right),
    ast.Mult: ("*", lambda left, right: left * right),
    ast.Div: ("/", lambda left, right: left / right),
}


def exact_value(expression: str, lines: list[str]) -> Fraction:
    """Return the value of integer arithmetic with + - * / and parentheses; its operations are appended to `lines`.

    Raises ZeroDivisionError where the expression divides by zero.
    """
    return _evaluate(ast.parse(expression.strip(), mode="eval").body, lines)


def _evaluate(node: ast.expr, lines: list[str]) -> Fraction:
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, lines), _evaluate(node.right, lines)
        sign, operation = OPERATIONS[type(node.op)]
        value = operation(left, right)
        lines.append(f"{left} {sign} {right} = {value}")
        return value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _evaluate(node.operand, lines)
        if not isinstance(node.operand, ast.Constant):
            lines.append(f"-({value}) = {-value}")
        return -value
    assert isinstance(node, ast.Constant), ast.dump(node)
    assert isinstance(node.value, int), ast.dump(node)
    return Fraction(node.value)


def _products(question: str, metadata: Mapping[str, Any]) -> Steps:
    """205 * 38 becomes 205 * 30 = 6150, 205 * 8 = 1640, 6150 + 1640 = 7790; signs are set aside until the end."""
    factors = [int(text) for text in metadata["expression"].split(" * ")]
    total, lines = factors[0], []
    for factor in factors[1:]:
        parts = [int(digit) * 10**power for power, digit in enumerate(reversed(str(abs(factor)))) if digit != "0"][::-1]
        if factor < 0 or len(parts) < 2 or abs(total) < 10:
            lines.append(f"{total} * {factor} = {total * factor}")
        else:
            lines += [f"{total} * {part} = {total * part}" for part in parts]
            running = total * parts[0]
            for part in parts[1:]:
                lines.append(f"{running} + {total * part} = {running + total * part}")
                running += total * part
        total *= factor
    return lines, str(total)


def _gcd(question: str, metadata: Mapping[str, Any]) -> Steps:
    numbers = list(metadata["numbers"])
    result, lines = numbers[0], []
    for number in numbers[1:]:
        euclid, result = _euclid(result, number)
        lines += euclid
    return lines, str(result)


def _lcm(question: str, metadata: Mapping[str, Any]) -> Steps:
    numbers = list(metadata["numbers"])
    result, lines = numbers[0], []
    for number in numbers[1:]:
        euclid, divisor = _euclid(result, number)
        lines += [*euclid, f"gcd = {divisor}", f"{result} / {divisor} * {number} = {math.lcm(result, number)}"]
        result = math.lcm(result, number)
    return lines, str(result)


def _euclid(first: int, second: int) -> tuple[list[str], int]:
    larger, smaller = max(first, second), min(first, second)
    lines = []
    while smaller:
        lines.append(f"{larger} mod {smaller} = {larger % smaller}")
        larger, smaller = smaller, larger % smaller
    return lines, larger


def _letter_counting(question: str, metadata: Mapping[str, Any]) -> Steps:
    """One line a word: its letters apart, then how many have been found so far."""
    count, lines = 0, []
    for word in metadata["span"]:
        count += word.lower().count(metadata["target_letter"])
        lines.append(f"{' '.join(word.lower())}: {count}")
    return lines, str(count)


def _spell_backward(question: str, metadata: Mapping[str, Any]) -> Steps:
    word = metadata["word"]
    return [" ".join(word), " ".join(reversed(word))], word[::-1]


def _count_bits(question: str, metadata: Mapping[str, Any]) -> Steps:
    """The binary digits in groups of four from the right, each with how many ones have been found so far."""
    binary = f"{metadata['number']:b}"
    padded = binary.zfill(-(-len(binary) // 4) * 4)
    count, lines = 0, []
    for start in range(0, len(padded), 4):
        group = padded[start : start + 4]
        count += group.count("1")
        lines.append(f"{' '.join(group)}: {count}")
    return lines, str(count)


def _leg_counting(question: str, metadata: Mapping[str, Any]) -> Steps:
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    total, lines = 0, []
    for animal, count in metadata["animals"].items():
        total += count * ANIMALS[animal]
        lines.append(f"{animal}: {count} * {ANIMALS[animal]} = {count * ANIMALS[animal]}, {total}")
    return lines, str(total)


def _simple_equations(question: str, metadata: Mapping[str, Any]) -> Steps:
    """20*h + 65 = 1485 becomes 20*h = 1485 - 65 = 1420, h = 1420 / 20 = 71; like terms are collected first."""
    left, right = metadata["equation"].split(" = ")
    variable, target = metadata["variable"], int(right)
    slope, constant = _linear(ast.parse(left, mode="eval").body)
    coefficient = variable if slope == 1 else f"{slope}*{variable}"
    rest, lines = target - constant, []
    if constant:
        lines.append(f"{coefficient} = {target} {'-' if constant > 0 else '+'} {abs(constant)} = {rest}")
    if slope != 1:
        lines.append(f"{variable} = {rest} / {slope} = {Fraction(rest, slope)}")
    return lines, str(Fraction(rest, slope))


def _linear(node: ast.expr) -> tuple[int, int]:
    """Return (slope, constant) of an expression linear in its one name."""
    if isinstance(node, ast.Name):
        return 1, 0
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return 0, node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        slope, constant = _linear(node.operand)
        return -slope, -constant
    assert isinstance(node, ast.BinOp), ast.dump(node)
    (left_slope, left), (right_slope, right) = _linear(node.left), _linear(node.right)
    if isinstance(node.op, ast.Add):
        return left_slope + right_slope, left + right
    if isinstance(node.op, ast.Sub):
        return left_slope - right_slope, left - right
    assert isinstance(node.op, ast.Mult), ast.dump(node)
    assert not (left_slope and right_slope), ast.dump(node)
    return left_slope * right + right_slope * left, left * right


def _prime_factorization(question: str, metadata: Mapping[str, Any]) -> Steps:
    rest, lines = metadata["number"], []
    for factor in metadata["factors"]:
        lines.append(f"{rest} / {factor} = {rest // factor}")
        rest //= factor
    return lines, " × ".join(str(factor) for factor in metadata["factors"])


def _simple_geometry(question: str, metadata: Mapping[str, Any]) -> Steps:
    """The interior angles of an n-gon sum to (n - 2) * 180 degrees."""
    sides, angles = metadata["n_sides"], [int(angle) for angle in metadata["known_angles"]]
    whole = (sides - 2) * 180
    lines, _ = _left_to_right(" + ".join(str(angle) for angle in angles), int)
    return [f"({sides} - 2) * 180 = {whole}", *lines, f"{whole} - {sum(angles)} = {whole - sum(angles)}"], str(
        whole - sum(angles)
    )


def _number_filtering(question: str, metadata: Mapping[str, Any]) -> Steps:
    """Each number of the list with yes (it stays) or no, then the list of those that stay, as they were written."""
    verb, side = re.match(r"(keep|remove)_(larger|smaller)", metadata["operation"]).groups()  # type: ignore[union-attr]
    bound = Decimal(metadata["filter_value"])
    lines, kept = [], []
    for text in metadata["original_numbers"]:
        beyond = Decimal(text) > bound if side == "larger" else Decimal(text) < bound
        stays = beyond == (verb == "keep")
        lines.append(f"{text} {'yes' if stays else 'no'}")
        kept += [text] if stays else []
    return lines, str(kept)


WORKED: dict[str, Callable[[str, Mapping[str, Any]], Steps]] = {
    "basic_arithmetic": _basic_arithmetic,
    "chain_sum": _chain_sum,
    "count_bits": _count_bits,
    "decimal_chain_sum": _decimal_chain_sum,
    "gcd": _gcd,
    "lcm": _lcm,
    "leg_counting": _leg_counting,
    "letter_counting": _letter_counting,
    "number_filtering": _number_filtering,
    "prime_factorization": _prime_factorization,
    "products": _products,
    "simple_equations": _simple_equations,
    "simple_geometry": _simple_geometry,
    "spell_backward": _spell_backward,
}
