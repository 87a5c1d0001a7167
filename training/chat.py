"""A conversation with one model: its chat template, the tokens that end its turns, the answer as it comes."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.models import eos_ids, load_gguf, load_policy, load_tokenizer, require_chat

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Settings:
    """How answers are drawn: at most `max_tokens`; temperature 0 takes the likeliest token; one seed for the whole."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int


@dataclass
class Chat:
    """A loaded model, its tokenizer and the turns so far."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    system: str | None
    settings: Settings
    turns: list[dict[str, str]] = field(default_factory=list)

    def reset(self) -> None:
        """Forget the turns."""
        self.turns.clear()

    def say(self, text: str, on_piece: Callable[[str], None]) -> str:
        """Return the answer to `text`; `on_piece` gets its pieces as they are decoded.

        Raises UserError, and leaves the turns as they were, when the conversation no longer fits the model.
        """
        turns = [*self.turns, {"role": "user", "content": text}]
        answer = self._answer(turns, on_piece)
        self.turns = [*turns, {"role": "assistant", "content": answer}]
        return answer

    def _answer(self, turns: list[dict[str, str]], on_piece: Callable[[str], None]) -> str:
        import torch

        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        encoded = self.tokenizer.apply_chat_template(
            [*head, *turns], add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.model.device)
        prompt = encoded["input_ids"].shape[1]
        room = self.model.config.max_position_embeddings - prompt
        if room < 1:
            raise UserError(f"the conversation is {prompt} tokens and the model reads {prompt + room}; begin anew")
        sampled = self.settings.temperature > 0
        draw = {"temperature": self.settings.temperature, "top_p": self.settings.top_p, "top_k": 0} if sampled else {}
        with torch.no_grad():
            ids = self.model.generate(
                **encoded,
                max_new_tokens=min(room, self.settings.max_tokens),
                do_sample=sampled,
                eos_token_id=sorted(eos_ids(self.model, self.tokenizer)),
                pad_token_id=self.tokenizer.pad_token_id,
                streamer=_streamer(self.tokenizer, on_piece),
                **draw,
            )
        return str(self.tokenizer.decode(ids[0, prompt:], skip_special_tokens=True))


def open_chat(folder: Path, gguf_file: str | None, system: str | None, settings: Settings) -> Chat:
    """Load a model folder, an adapter with its base, or a GGUF file; UserError where it has no template or no end."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(settings.seed)
    on_gpu = torch.cuda.is_available()
    path = folder if gguf_file is None else folder / gguf_file
    try:
        tokenizer, model = _loaded(folder, gguf_file, "bfloat16" if on_gpu else "float32")
    except UserError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError, struct.error) as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error
    return Chat(model.to("cuda") if on_gpu else model, tokenizer, system, settings)


def _loaded(folder: Path, gguf_file: str | None, dtype: str) -> "tuple[PreTrainedTokenizerBase, PreTrainedModel]":
    from transformers import AutoTokenizer

    if gguf_file is None:
        return load_tokenizer(folder), load_policy(folder, dtype)
    path = folder / gguf_file
    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=gguf_file)
    return require_chat(tokenizer, path), load_gguf(path, dtype)


def _streamer(tokenizer: "PreTrainedTokenizerBase", on_piece: Callable[[str], None]) -> Any:
    """transformers' streamer, which holds text back until its last character is whole, with another ending."""
    from transformers import TextStreamer

    class Pieces(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                on_piece(text)

    return Pieces(tokenizer, skip_prompt=True, skip_special_tokens=True)
