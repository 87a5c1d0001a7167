"""Hidden states of trained positions, the context that several rows share computed once.

The completions of a GRPO group share their prompt, a chosen and a rejected answer share theirs, and in a forward of
whole rows that prompt is most of the tokens. Here each different context runs once, and the rows go on from its
keys and values; gradients flow back through them. Numbers equal the plain forward's up to rounding
(tests/test_shared_context.py). For plain attention without dropout; anything else keeps the plain forward.

Legend: B rows, T tokens, C different contexts, P context tokens, K tokens after the context, N trained positions,
H hidden size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

WORTH_IT = 0.8  # share of the plain forward's tokens above which two passes do not pay
PLAIN_LAYERS = {"full_attention"}


@dataclass(frozen=True)
class SharedContexts:
    """The rows of a batch cut in two: contexts, left-padded, and what follows them, right-padded."""

    context_ids_CP: torch.Tensor
    context_mask_CP: torch.Tensor
    owner_B: torch.Tensor
    ids_BK: torch.Tensor
    mask_BK: torch.Tensor
    labels_BK: torch.Tensor


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
    longest, tail = max(map(len, contexts)), max(tails)
    if len(contexts) * longest + len(ids) * tail > WORTH_IT * ids_BT.numel():
        return None
    context_ids_CP = ids_BT.new_zeros((len(contexts), longest))
    context_mask_CP = mask_BT.new_zeros((len(contexts), longest))
    for context, place in contexts.items():
        context_ids_CP[place, longest - len(context) :] = ids_BT.new_tensor(context)
        context_mask_CP[place, longest - len(context) :] = 1
    places_BK = torch.tensor(starts, device=ids_BT.device)[:, None] + torch.arange(tail, device=ids_BT.device)
    inside_BK = places_BK < ids_BT.size(1)
    places_BK = places_BK.clamp(max=ids_BT.size(1) - 1)
    return SharedContexts(
        context_ids_CP,
        context_mask_CP,
        torch.tensor(owners, device=ids_BT.device),
        ids_BT.gather(1, places_BK),
        mask_BT.gather(1, places_BK) * inside_BK,
        labels_BT.gather(1, places_BK).masked_fill(~inside_BK, -100),
    )


def trained_hidden(backbone: Any, config: Any, shared: SharedContexts) -> torch.Tensor:
    """Return the hidden states [N, H] that predict the trained tokens, row by row in the order of the tokens."""
    cache = DynamicCache(config=config)
    mask_CP = shared.context_mask_CP
    context = backbone(
        input_ids=shared.context_ids_CP,
        attention_mask=mask_CP,
        position_ids=(mask_CP.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1:]
    cache.batch_select_indices(shared.owner_B)
    mask_BT = torch.cat([mask_CP[shared.owner_B], shared.mask_BK], dim=1)
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    first = context[shared.owner_B]
    if shared.ids_BK.size(1) == 1:
        hidden_BKH = first
    else:
        rest = backbone(
            input_ids=shared.ids_BK[:, :-1],
            attention_mask=mask_BT[:, :-1],
            position_ids=positions_BT[:, mask_CP.size(1) : -1],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        hidden_BKH = torch.cat([first, rest], dim=1)
    return hidden_BKH[shared.labels_BK != -100]
