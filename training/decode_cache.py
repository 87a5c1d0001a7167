"""Room for keys and values set aside before decoding: each token is written in place.

transformers' DynamicLayer concatenates the whole cache anew at every token, which for many long rows moves as many
bytes as the weights (SmolLM2-135M, 32 rows of 300 tokens: 0.4 GB a token). The values are the same.

Legend: B rows, H key-value heads, T tokens, C capacity in tokens, D head size.
"""

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

GROWTH = (64, 1 / 4)
"""A full buffer grows by so many tokens, or by this share of its length where that is more."""


class ReservedLayer(DynamicLayer):
    """A DynamicLayer (transformers 5.23) over a buffer [B, H, C, D] that grows a quarter at a time."""

    def __init__(self, plain: DynamicLayer):
        super().__init__()
        self.dtype, self.device, self.is_initialized = plain.dtype, plain.device, True
        self.keys, self.values = plain.keys, plain.values
        self._length = plain.get_seq_length()
        self._grow(self._length)

    def _grow(self, needed: int) -> None:
        capacity = needed + max(GROWTH[0], int(GROWTH[1] * needed))
        self._buffers = (_roomy(self.keys, capacity), _roomy(self.values, capacity))
        self._show()

    def _show(self) -> None:
        self.keys, self.values = (buffer[:, :, : self._length] for buffer in self._buffers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new states [B, H, T, D] behind the old ones and return all of them."""
        start, end = self._length, self._length + key_states.size(2)
        if end > self._buffers[0].size(2):
            self._grow(end)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        self._length = end
        self._show()
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices` and their room."""
        self.keys, self.values = self.keys[indices], self.values[indices]
        self._grow(self._length)


def _roomy(states_BHTD: torch.Tensor, capacity: int) -> torch.Tensor:
    rows, heads, length, size = states_BHTD.shape
    buffer = states_BHTD.new_empty((rows, heads, capacity, size))
    buffer[:, :, :length] = states_BHTD
    return buffer


def reserve(cache: DynamicCache) -> None:
    """Give the plain layers of a filled cache room to write in; sliding windows and other kinds stay as they are."""
    cache.layers = [
        ReservedLayer(layer) if type(layer) is DynamicLayer and layer.is_initialized else layer
        for layer in cache.layers
    ]
