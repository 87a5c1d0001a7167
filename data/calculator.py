"""The tool `calculator`: arithmetic that a policy may ask for while it answers. Evaluates no Python."""

import ast
import operator
from collections.abc import Callable

MAX_CHARACTERS = 200
MAX_DIGITS = 60

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def calculator(expression: str) -> str:
    """
    Work out an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % and brackets, for example "(3 + 4) * 5".

    Returns:
        The value as text.
    """
    if not isinstance(expression, str) or len(expression) > MAX_CHARACTERS:
        raise ValueError(f"an expression is a text of at most {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("this is no arithmetic expression") from None
    return str(_value(tree.body))


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        try:
            return _bounded(_BINARY[type(node.op)](left, right))
        except (ZeroDivisionError, OverflowError) as error:
            raise ValueError(str(error)) from None
    raise ValueError("only numbers, + - * / // % and brackets are known")


def _bounded(value: float) -> float:
    if abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"numbers have at most {MAX_DIGITS} digits")
    return value
