"""A tokenizer as GGUF has it: tokens with their kinds, merges, the rule that splits text, special tokens, template.

GGUF names the rule (`tokenizer.ggml.pre`) and llama.cpp has it built in, so a tokenizer whose rule it has no name for
is refused: written under another name it would cut text differently and say nothing. Byte-level BPE only (GPT-2,
SmolLM, Llama 3, Qwen); SentencePiece vocabularies (Llama 2, Mistral 7B, SOLAR) are refused by name.
"""

import json
from typing import Any

from data.errors import UserError

SPLITS = {
    "llama-bpe": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "qwen2": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""llama.cpp's name of a rule -> the expression by which it splits text before merging bytes."""


def add_tokenizer(writer: Any, tokenizer: Any, vocab_size: int, generation: Any = None) -> None:
    """Write `tokenizer`; ids that the model has and the tokenizer has not are written as unused tokens."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(backend))
    tokens, kinds = token_table(backend, vocab_size)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in backend["model"]["merges"]]
    )
    for name in ("bos", "eos", "unk", "pad"):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    ends = getattr(generation, "eos_token_id", None)
    others = [
        token for token in (ends if isinstance(ends, list) else [ends]) if token not in (None, tokenizer.eos_token_id)
    ]
    if others:
        writer.add_eot_token_id(others[0])
    begins = tokenizer("a").input_ids
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and begins[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(begins[-1] == tokenizer.eos_token_id)
    writer.add_chat_template(str(tokenizer.chat_template))


def pre_tokenizer_name(backend: dict[str, Any]) -> str:
    """llama.cpp's name of the rule by which a tokenizer (its JSON) splits text; UserError where it has none."""
    model = backend["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") else model.get("type")
        raise UserError(f"gguf: the tokenizer is {kind}; only byte-level BPE can be written. Remove gguf")
    if not model["merges"]:
        raise UserError("gguf: the tokenizer has no merges, and llama.cpp reads none without. Remove gguf")
    if (backend.get("normalizer") or {}).get("type", "NFC") != "NFC":
        raise UserError(f"gguf: the tokenizer changes text first ({backend['normalizer']['type']}), GGUF cannot say so")
    steps = _steps(backend.get("pre_tokenizer"))
    kinds = [step["type"] for step in steps]
    last = steps[-1] if steps else {}
    if kinds[-1:] == ["ByteLevel"] and not last.get("add_prefix_space"):
        if kinds == ["ByteLevel"] and last.get("use_regex", True):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and last.get("use_regex", True):
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not last.get("use_regex", True) and _isolates(steps[0]):
            pattern = steps[0]["pattern"].get("Regex")
            for name, known in SPLITS.items():
                if pattern == known:
                    return name
    how, known_names = " + ".join(kinds) or "not at all", ", ".join(["gpt-2", "smollm", *SPLITS])
    raise UserError(
        f"gguf: llama.cpp has no name that we know for how the tokenizer splits text ({how}); known are {known_names}. "
        "Remove gguf"
    )


def token_table(backend: dict[str, Any], vocab_size: int) -> tuple[list[str], list[int]]:
    """Return every token by id with its kind: normal, control (special), user-defined (added) or unused."""
    from gguf import TokenType

    found = {index: (token, TokenType.NORMAL) for token, index in backend["model"]["vocab"].items()}
    for added in backend.get("added_tokens", []):
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        found[added["id"]] = (added["content"], kind)
    if max(found) >= vocab_size:
        raise UserError(f"gguf: the tokenizer has {max(found) + 1} tokens, the model only {vocab_size}")
    table = [found.get(index, (f"[PAD{index}]", TokenType.UNUSED)) for index in range(vocab_size)]
    return [token for token, _ in table], [int(kind) for _, kind in table]


def _steps(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre_tokenizer is None:
        return []
    return list(pre_tokenizer["pretokenizers"]) if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]


def _isolates(step: dict[str, Any]) -> bool:
    return step.get("behavior") == "Isolated" and not step.get("invert", False)
