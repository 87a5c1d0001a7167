"""A checksum of a model's weights that two engines agree on although they lay the weights out differently.

vLLM joins q, k and v into one tensor, gate and up into another, pads vocabularies with zeros and may transpose or pack
what is left. So every element's bits are mixed into 64 bits by themselves and summed modulo 2**64: order and place do
not count, zeros add nothing, and one changed, missing or doubled element changes the sum (up to a chance of 2**-64).
Two tensors of equal content in each other's place are not seen; the log-probabilities show those.

Imports nothing but torch: it runs in posttrain's environment and in that of vLLM.
"""

from collections.abc import Iterable

import torch

CHUNK = 1 << 16  # elements mixed at once: what a core's cache holds
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = (-7046029288634856825, -4417276706812531889)
"""Two of the primes of xxHash64 (Collet 2012) as signed numbers; torch's integer products wrap."""
_LOWER = (1 << 32) - 1


def weight_checksum(tensors: Iterable[torch.Tensor]) -> str:
    """Return 16 hexadecimal digits over all elements, each in the precision that its tensor has."""
    total = 0
    for tensor in tensors:
        bits = tensor.detach().cpu().contiguous().view(-1).view(_BITS[tensor.element_size()])
        for part in bits.split(CHUNK):
            total += int(_mixed(part.to(torch.int64)).sum())
    return f"{total % 2**64:016x}"


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """A one-to-one map of 64 bits, in place, that sends 0 to 0: multiply, fold the upper half down, multiply."""
    bits *= _ODD[0]
    bits ^= (bits >> 32) & _LOWER  # torch's shift keeps the sign
    bits *= _ODD[1]
    return bits
