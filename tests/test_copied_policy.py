"""A draw beside training gives up inside a prefill too: long prompts must not keep a rank that has to end."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.tiny_models import make_model
from training.copied_policy import CopiedPolicy
from training.one_step_off import Draw, GivenUp
from training.rollout import Sampling, generate


def test_a_draw_gives_up_between_two_layers_of_a_prefill() -> None:
    """Told so in the second of four layers, it never computes the third."""
    model: Any = make_model("llama")
    layers, reached = model.model.layers, list[int]()
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, number=number: reached.append(number))

    def decode(model: Any, prompt_ids: Any, trainer: Any, name: str, rows_done: Any, observe: Any) -> list[list[int]]:
        return generate(model, prompt_ids, 1, Sampling(4), {2}, 0, on_rows_done=rows_done, observe=observe)

    trainer: Any = SimpleNamespace(accelerator=SimpleNamespace(device=torch.device("cpu")), temperature=1.0)
    work = CopiedPolicy(model, trainer, decode).prepare([[1, 20, 30], [1, 40]], "0")
    whole = Draw(work)
    whole.run()
    tokens, logps = whole.result(lambda rows: None)
    assert [len(each) for each in tokens] == [len(each) for each in logps]
    assert reached[:4] == [0, 1, 2, 3]
    reached.clear()
    ended = Draw(work)
    layers[1].register_forward_hook(lambda *_: ended.given_up.set())
    ended.run()
    with pytest.raises(GivenUp):
        ended.result(lambda rows: None)
    assert reached == [0, 1]
