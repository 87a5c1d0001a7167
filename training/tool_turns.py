"""Turns with tools where nothing is trained: TRL's own loop (1.16) on a stand-in, so that a model is measured as it was
trained.

The loop parses a turn, calls the tools and appends their answers; what follows is drawn by `draw`, as first turns are.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trl import GRPOTrainer
from trl.chat_template_utils import get_training_chat_template, is_chat_template_prefix_preserving, parse_response

from training.reward_functions import assistant_text, transcript

Draw = Callable[[list[list[int]], int], list[list[int]]]
"""(token ids of what stands before, number of the turn from 0) -> token ids of what follows."""


@dataclass(frozen=True)
class Exchange:
    """One completion with its turns: what the model said last, all of it, the token ids of all turns and of the tools'
    answers, which of them the model drew, how often it called and how many calls failed.
    """

    text: str
    transcript: str
    ids: list[int]
    drawn: list[int]
    calls: int
    failed: int


class ToolTurns:
    """What `GRPOTrainer._tool_call_loop` reads of its trainer; `tests/test_trainers_parity.py` holds its source."""

    use_vllm = _is_vlm = False
    environment_factories = None
    _tool_call_loop: Any = GRPOTrainer._tool_call_loop
    _get_tool_suffix_ids: Any = GRPOTrainer._get_tool_suffix_ids

    def __init__(
        self, functions: list[Callable[..., Any]], tokenizer: Any, model: Any, max_tokens: int, most_rounds: int | None
    ) -> None:
        """`tokenizer` parses calls (`tools.tokenizer_for_tools`); `max_tokens` and `most_rounds` are a completion's."""
        self.tools, self.model = functions, model
        self._tokenizer = self.processing_class = tokenizer
        whole = is_chat_template_prefix_preserving(tokenizer)
        self.chat_template = None if whole else get_training_chat_template(tokenizer)
        self.chat_template_kwargs: dict[str, Any] = {}
        self.max_completion_length = max_tokens
        self.max_tool_calling_iterations = sys.maxsize if most_rounds is None else most_rounds

    def rendered(self, prompts: list[list[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of prompts that tell of the tools, as in training."""
        ids: list[list[int]] = self._tokenizer.apply_chat_template(
            prompts,
            tools=self.tools,
            chat_template=self.chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )["input_ids"]
        return ids

    def complete(
        self, prompts: list[Any], prompt_ids: list[list[int]], first: list[list[int]], draw: Draw
    ) -> list[Exchange]:
        """Return the Exchange of each prompt, whose first turn is drawn already."""
        completions = [
            [parse_response(self._tokenizer, ids, prefix=before, tools=self.tools)]
            for before, ids in zip(prompt_ids, first, strict=True)
        ]
        turns = iter(range(1, sys.maxsize))
        self._generate_single_turn = lambda ids, *rest, **more: (draw(ids, next(turns)), None)
        failures = [0] * len(prompts)
        self._sync_tool_dicts = [self._counting(failures, place) for place in range(len(prompts))]
        self._async_tool_dicts: list[dict[str, Any]] = [{}] * len(prompts)
        mask, completions, ids, *_ = self._tool_call_loop(
            copy.deepcopy(prompts), prompt_ids, [list(each) for each in first], completions, None, None, {}
        )
        return [
            self._exchange(completions[place], ids[place], mask[place], failures[place])
            for place in range(len(prompts))
        ]

    def _counting(self, failures: list[int], place: int) -> dict[str, Callable[..., Any]]:
        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(**arguments: Any) -> Any:
                try:
                    return function(**arguments)
                except Exception:  # TRL tells the model of it
                    failures[place] += 1
                    raise

            return call

        return {function.__name__: counted(function) for function in self.tools}

    def _exchange(self, completion: list[dict[str, Any]], ids: list[int], mask: list[int], failed: int) -> Exchange:
        known = {function.__name__ for function in self.tools}
        answered = [message["name"] for message in completion if message["role"] == "tool"]
        drawn = [token for token, ours in zip(ids, mask, strict=True) if ours]
        unknown = sum(name not in known for name in answered)
        return Exchange(assistant_text(completion), transcript(completion), ids, drawn, len(answered), failed + unknown)
