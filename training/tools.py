"""Tools that a policy may call while it answers (`tools:` of grpo): functions, what identifies them, what TRL needs.

A tool is a plain Python function with typed arguments and a docstring in Google's style, from which transformers makes
what the model is told. It runs in the training process: its code is yours and trusted, its arguments are the model's.
"""

import copy
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data.calculator import calculator
from data.errors import UserError
from data.own_functions import load_function, source_sha256

KEY = "callable"
TURNS = "max_tool_calling_iterations"
"""The name of the limit of rounds of calls: TRL's, and ours where TRL has no config."""


@dataclass(frozen=True)
class Tool:
    """A shipped tool; raise `version` whenever its answers change."""

    function: Callable[..., Any]
    version: int


TOOLS = {"calculator": Tool(calculator, 1)}


def tool_identity(spec: Any) -> dict[str, Any]:
    """Return what identifies a tool in fingerprints: name and version, of a user's function the sha256 of its file."""
    if spec.callable is None:
        return {"name": spec.name, "version": TOOLS[spec.name].version}
    return {"name": spec.called, "version": spec.version, "callable_sha256": source_sha256(spec.callable, KEY)}


def turns_in_words(stage: Any) -> str | None:
    """What a plan says of a stage's tools and turns; None where it draws nothing or has none."""
    names = [] if stage.kind == "sft" else [spec.called for spec in getattr(stage, "tools", [])]
    spec = getattr(stage, "environment", None)
    if spec is not None:
        names.append(f"the methods of {spec.called}")
    if not names:
        return None
    most = stage.trainer.get(TURNS) if stage.kind == "grpo" else stage.max_tool_calling_iterations
    turns = "as many turns as fit" if most is None else f"up to {most + 1} turns"
    return f"tools: {', '.join(names)}; {turns} within its tokens, later ones are not in the estimate of time"


def tool_schemas(specs: list[Any], stage: str) -> str:
    """Return what a model is told of a stage's tools: a list of JSON schemas, as JSON text."""
    from transformers.utils.chat_template_utils import get_json_schema

    return json.dumps([get_json_schema(function) for function in load_tools(specs, stage)], ensure_ascii=False)


def load_tools(specs: list[Any], stage: str) -> list[Callable[..., Any]]:
    """Return the functions of a stage's tools. Raises UserError for one that a model cannot be told how to call."""
    return [_load(spec, f"stages.{stage}.tools[{number}]") for number, spec in enumerate(specs)]


def _load(spec: Any, where: str) -> Callable[..., Any]:
    try:
        function = TOOLS[spec.name].function if spec.callable is None else load_function(spec.callable, KEY)
    except UserError as error:
        raise UserError(f"{where}.{error}") from error
    require_described(function, where)
    return function


def require_described(function: Callable[..., Any], where: str) -> None:
    """Raise UserError for a function that a model cannot be told how to call."""
    from transformers.utils.chat_template_utils import (
        DocstringParsingException,
        TypeHintParsingException,
        get_json_schema,
    )

    if inspect.iscoroutinefunction(function):
        raise UserError(f"{where}: {function.__name__} is async; a tool is a plain function")
    try:
        get_json_schema(function)
    except (DocstringParsingException, TypeHintParsingException) as error:
        raise UserError(
            f"{where}: {function.__name__} needs a type for every argument and a docstring with `Args:` that describes "
            f"each (Google's style): {error}"
        ) from error


def tokenizer_for_tools(tokenizer: Any, stage: str) -> Any:
    """Return a copy of the tokenizer that parses calls; UserError for a chat template that TRL cannot call tools with.

    A copy, since what it parses with would be saved with the model and change what later stages read.
    """
    from trl.chat_template_utils import (
        add_response_schema,
        get_training_chat_template,
        is_chat_template_prefix_preserving,
        supports_tool_calling,
    )

    parsing = copy.deepcopy(tokenizer)
    try:
        if not supports_tool_calling(parsing):
            raise ValueError("it renders no calls, or no answers of tools")
        if getattr(parsing, "response_template", None) is None:
            add_response_schema(parsing)
        if not is_chat_template_prefix_preserving(parsing):
            get_training_chat_template(parsing)
    except ValueError as error:
        raise UserError(
            f"stages.{stage}.tools: TRL cannot call tools with the model's chat template: {error}. Set "
            "`chat_template: qwen3` and `allow_template_change: true`, or start from a model whose template TRL knows"
        ) from error
    return parsing
