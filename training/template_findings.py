"""What a chat template does that no single row shows: rewriting earlier turns, or writing the date."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ASKED = {"role": "user", "content": "one"}
_ANSWERED = {"role": "assistant", "content": "<think>\nwhy\n</think>\n\ntwo"}
_ASKED_AGAIN = {"role": "user", "content": "three"}


def template_findings(tokenizer: "PreTrainedTokenizerBase") -> dict[str, str]:
    """Return findings by name, with what each means; a template that is fine for every use gives none."""
    from jinja2 import TemplateError

    found = {}
    try:
        short = _render(tokenizer, [_ASKED, _ANSWERED])
        long = _render(tokenizer, [_ASKED, _ANSWERED, _ASKED_AGAIN])
    except (TemplateError, TypeError, ValueError) as error:
        found["template_raises"] = f"the chat template refuses a plain conversation of three turns: {error}"
    else:
        if long[: len(short)] != short:
            found["template_not_prefix_preserving"] = (
                "the chat template renders an answer otherwise once another turn follows (reasoning is often dropped): "
                "of a conversation with several answers, a model meets earlier ones in another form than it learned"
            )
    if "strftime_now" in str(tokenizer.chat_template):
        found["template_writes_the_date"] = (
            "the chat template writes today's date into the prompt: tokens, and with them results, differ by the day"
        )
    return found


def _render(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]]) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"])
