"""Hidden states of trained positions, the context that several rows share computed once.

The completions of a GRPO group share their prompt, a chosen and a rejected answer share theirs, and in a forward of
whole rows that prompt is most of the tokens. Here each different context runs once, and the rows go on from its
keys and values; gradients flow back through them. Numbers equal the plain forward's up to rounding
(tests/test_shared_context.py). For plain attention without dropout; anything else keeps the plain forward.

The rows go on in parts of like length, so that short ones carry little padding.

Legend: B rows, T tokens, C different contexts, P context tokens, R rows of a part, K tokens after the context,
N trained positions, H hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

WORTH_IT = 0.8  # share of the plain forward's tokens above which two passes do not pay
PASS_TOKENS = 64  # padding that is worth another pass over the layers: on a CPU a pass costs less than so many tokens
PLAIN_LAYERS = {"full_attention"}


@dataclass(frozen=True)
class Tails:
    """What follows the contexts of some rows, right-padded; `rows_R` are their places in the batch."""

    rows_R: torch.Tensor
    owner_R: torch.Tensor
    ids_RK: torch.Tensor
    mask_RK: torch.Tensor
    labels_RK: torch.Tensor


@dataclass(frozen=True)
class SharedContexts:
    """The rows of a batch cut in two: contexts, left-padded, and what follows them, in parts of like length."""

    context_ids_CP: torch.Tensor
    context_mask_CP: torch.Tensor
    parts: list[Tails]


def can_share_contexts(model: Any) -> bool:
    """Whether a row may go on from cached keys and values."""
    return why_not_shared(model, model.training) is None


def why_not_shared(model: Any, training: bool) -> str | None:
    """What keeps a model from sharing contexts, in words; None where nothing does."""
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or PLAIN_LAYERS)
    if not layers <= PLAIN_LAYERS or getattr(config, "sliding_window", None) is not None:
        return "not every layer has full attention"
    dropout = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    if training and (dropout or getattr(config, "attention_dropout", 0.0) > 0):
        return "the model drops out"
    if training and model.is_activation_checkpointing:
        return "activations are recomputed (gradient_checkpointing)"
    return None


def share_contexts(ids_BT: torch.Tensor, mask_BT: torch.Tensor, labels_BT: torch.Tensor) -> SharedContexts | None:
    """Cut every row before its first trained token; None where too few contexts are alike to pay.

    `labels_BT` is -100 where nothing is trained. Rows without a trained token go with the first context.
    """
    trained_BT = labels_BT != -100
    if not trained_BT.any(1).all() or trained_BT[:, 0].any():
        return None
    starts = trained_BT.int().argmax(1).tolist()
    ids, mask = ids_BT.tolist(), mask_BT.bool().tolist()
    contexts: dict[tuple[int, ...], int] = {}
    owners, tails = [], []
    for row, start in enumerate(starts):
        context = tuple(token for token, real in zip(ids[row][:start], mask[row][:start], strict=True) if real)
        if not context:
            return None
        owners.append(contexts.setdefault(context, len(contexts)))
        tails.append(int(mask_BT[row].nonzero()[-1]) + 1 - start)
    longest, parts = max(map(len, contexts)), like_lengths(tails)
    if len(contexts) * longest + padded(tails, parts) > WORTH_IT * ids_BT.numel():
        return None
    context_ids_CP = ids_BT.new_zeros((len(contexts), longest))
    context_mask_CP = mask_BT.new_zeros((len(contexts), longest))
    for context, place in contexts.items():
        context_ids_CP[place, longest - len(context) :] = ids_BT.new_tensor(context)
        context_mask_CP[place, longest - len(context) :] = 1
    batch = (ids_BT, mask_BT, labels_BT)
    cut = [_tails(batch, part, starts, owners, max(tails[row] for row in part)) for part in parts]
    return SharedContexts(context_ids_CP, context_mask_CP, cut)


def like_lengths(lengths: list[int]) -> list[list[int]]:
    """Return rows in parts, the short ones together: as many parts as save more padding than their passes cost."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    cost, cuts = [0], [0]
    for end in range(1, len(order) + 1):
        widest = lengths[order[end - 1]]
        options = [(cost[start] + (end - start) * widest + PASS_TOKENS, start) for start in range(end)]
        cheapest, cut = min(options)
        cost.append(cheapest)
        cuts.append(cut)
    parts: list[list[int]] = []
    end = len(order)
    while end:
        parts.insert(0, order[cuts[end] : end])
        end = cuts[end]
    return parts


def padded(lengths: list[int], parts: list[list[int]]) -> int:
    """The tokens of rows in parts, each part padded to its longest row."""
    return sum(len(part) * max(lengths[row] for row in part) for part in parts)


def _tails(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    rows: list[int],
    starts: list[int],
    owners: list[int],
    longest: int,
) -> Tails:
    rows_R = torch.tensor(rows, device=batch[0].device)
    begins_R1 = torch.tensor([starts[row] for row in rows], device=rows_R.device)[:, None]
    places_RK = begins_R1 + torch.arange(longest, device=rows_R.device)
    inside_RK = places_RK < batch[0].size(1)
    places_RK = places_RK.clamp(max=batch[0].size(1) - 1)
    ids_RK, mask_RK, labels_RK = (column_BT[rows_R].gather(1, places_RK) for column_BT in batch)
    return Tails(
        rows_R,
        torch.tensor([owners[row] for row in rows], device=rows_R.device),
        ids_RK,
        mask_RK * inside_RK,
        labels_RK.masked_fill(~inside_RK, -100),
    )


def trained_hidden(backbone: Any, config: Any, shared: SharedContexts) -> torch.Tensor:
    """Return the hidden states [N, H] that predict the trained tokens, row by row in the order of the tokens."""
    cache = DynamicCache(config=config)
    mask_CP = shared.context_mask_CP
    context_CH = backbone(
        input_ids=shared.context_ids_CP,
        attention_mask=mask_CP,
        position_ids=(mask_CP.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1]
    hidden, places = [], []
    for part in shared.parts:
        hidden_RKH = _behind_contexts(backbone, config, cache, mask_CP, context_CH, part)
        rows_N, tokens_N = (part.labels_RK != -100).nonzero(as_tuple=True)
        hidden.append(hidden_RKH[rows_N, tokens_N])
        places.append(torch.stack([part.rows_R[rows_N], tokens_N], dim=1))
    rows_N, tokens_N = torch.cat(places).unbind(1)
    in_order_N = (rows_N * (tokens_N.max() + 1) + tokens_N).argsort()
    return torch.cat(hidden)[in_order_N]


def _behind_contexts(
    backbone: Any, config: Any, contexts: DynamicCache, mask_CP: torch.Tensor, context_CH: torch.Tensor, part: Tails
) -> torch.Tensor:
    """Return the hidden states [R, K, H] that predict a part's tokens, the first by the last of its context."""
    first_R1H = context_CH[part.owner_R][:, None]
    if part.ids_RK.size(1) == 1:
        return first_R1H
    cache = DynamicCache(config=config)
    for number, layer in enumerate(contexts.layers):
        cache.update(layer.keys[part.owner_R], layer.values[part.owner_R], number)
    mask_RT = torch.cat([mask_CP[part.owner_R], part.mask_RK], dim=1)
    positions_RT = (mask_RT.cumsum(1) - 1).clamp(min=0)
    rest_RKH = backbone(
        input_ids=part.ids_RK[:, :-1],
        attention_mask=mask_RT[:, :-1],
        position_ids=positions_RT[:, mask_CP.size(1) : -1],
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return torch.cat([first_R1H, rest_RKH], dim=1)
