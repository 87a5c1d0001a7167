"""FLOPs of a token: two for every weight it passes through, and the attention to the tokens before it.

Kaplan et al. 2020 (arXiv 2001.08361, section 2.1): a forward costs 2N a token, a backward twice that, so training costs
6N; recomputing the forward under activation checkpointing makes it 8N (Narayanan et al. 2021, arXiv 2104.04473).
N is what a token meets: the experts it is routed to, the LM head, but not the embedding table, which is a look-up.
"""

from training.estimate.parameters import count
from training.estimate.shape import Shape
from training.estimate.workload import Workload


def forward_flops(shape: Shape, context: float, head_share: float = 1.0) -> float:
    """FLOPs of one token's forward with `context` tokens to attend to; `head_share` of the tokens reach the LM head."""
    parameters = count(shape)
    body = parameters.active - parameters.embedding - parameters.lm_head
    head = shape.vocabulary * shape.hidden
    return 2.0 * (body + head_share * head) + attention_flops(shape, context)


def attention_flops(shape: Shape, context: float) -> float:
    """FLOPs of one token's scores and weighted sum over `context` tokens, in all layers; sliding layers see less."""
    if shape.latent is None:
        width = 2 * shape.head_dim
    else:
        width = shape.latent.plain_head_dim + shape.latent.rotary_head_dim + shape.latent.value_head_dim
    seen = (shape.layers - shape.sliding_layers) * context
    if shape.sliding_window is not None:
        seen += shape.sliding_layers * min(context, shape.sliding_window)
    return 2.0 * shape.heads * width * seen


def training_passes(workload: Workload) -> float:
    """Forwards that a training pass is worth: 3, one more to recompute, one less where the weights are frozen."""
    backward = 1.0 if workload.lora is not None else 2.0
    return 1.0 + backward + (1.0 if workload.checkpointing else 0.0)
