"""Keys and values written in place: what transformers' cache would hold, through growth and rows that leave."""

import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer

from training.decode_cache import GROWTH, ReservedLayer, reserve


def states(tokens: int, seed: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn((2, rows, 2, tokens, 4), generator=generator)
    return keys, values


def filled() -> tuple[DynamicCache, DynamicCache]:
    config = LlamaConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2)
    caches = DynamicCache(config=config), DynamicCache(config=config)
    for cache in caches:
        cache.update(*states(5, seed=0), 0)
    reserve(caches[1])
    assert type(caches[0].layers[0]) is DynamicLayer
    assert type(caches[1].layers[0]) is ReservedLayer
    return caches


def test_each_token_is_written_behind_the_others_through_growth() -> None:
    plain, reserved = filled()
    for token in range(GROWTH[0] + 20):  # beyond the first room
        expected = plain.update(*states(1, seed=token), 0)
        found = reserved.update(*states(1, seed=token), 0)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        assert reserved.get_seq_length() == plain.get_seq_length()


def test_tokens_are_written_in_place_until_the_room_is_full() -> None:
    _, reserved = filled()
    places = {reserved.update(*states(1, seed=token), 0)[0].data_ptr() for token in range(GROWTH[0])}
    assert len(places) == 1


def test_rows_that_leave_take_their_states_along() -> None:
    plain, reserved = filled()
    for cache in (plain, reserved):
        cache.update(*states(2, seed=1), 0)
        cache.batch_select_indices(torch.tensor([2, 0]))
    expected = plain.update(*states(1, seed=2, rows=2), 0)
    found = reserved.update(*states(1, seed=2, rows=2), 0)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_sliding_windows_keep_their_own_layer() -> None:
    cache = DynamicCache(config=MistralConfig(num_hidden_layers=2, sliding_window=4))
    for layer in range(2):
        cache.update(*states(5, seed=0), layer)
    before = [type(layer) for layer in cache.layers]
    reserve(cache)
    assert [type(layer) for layer in cache.layers] == before
    assert ReservedLayer not in before
