"""The shipped template of DeepSeek-R1-Zero (arXiv 2501.12948, table 1), word for word."""

import jinja2

from training.config.chat_templates import chat_template_path

PAPER = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
    "reasoning process here </think> <answer> answer here </answer>. User: {}. Assistant:"
)


def rendered(messages: list[dict[str, str]], **settings: object) -> str:
    path = chat_template_path("r1_zero")
    assert path is not None
    return jinja2.Template(path.read_text()).render(messages=messages, eos_token="<end>", **settings)


def test_a_question_stands_in_the_papers_words() -> None:
    question = {"role": "user", "content": "What is 1 + 1?"}
    assert rendered([question], bos_token=None, add_generation_prompt=True) == PAPER.format("What is 1 + 1?")


def test_the_prompt_is_the_beginning_of_the_whole_conversation() -> None:
    """What GRPO draws after and what SFT would train on begin alike, and an answer ends with the end of text."""
    turns = [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "<answer>2</answer>"}]
    prompt = rendered(turns[:1], bos_token="<s>", add_generation_prompt=True)
    assert rendered(turns, bos_token="<s>") == prompt + " <answer>2</answer><end>"
    assert prompt.startswith("<s>A conversation")
