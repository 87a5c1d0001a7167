"""Parameters of a model counted from its shape: exact, part by part, as transformers 5.23 builds it."""

from dataclasses import dataclass

from training.estimate.shape import Shape


@dataclass(frozen=True)
class Parameters:
    """Counts of numbers. `lm_head` is 0 when tied; `layer` is the largest layer, `expert` one expert's weights.

    `active` are those one token passes through: all but the experts it is not routed to.
    """

    total: int
    active: int
    embedding: int
    lm_head: int
    attention: int
    feed_forward: int
    expert: int
    router: int
    layer: int


def count(shape: Shape) -> Parameters:
    """Count the parameters of `shape`; `attention` and `feed_forward` are those of one layer without experts."""
    attention = _attention(shape)
    dense = _feed_forward(shape, shape.intermediate, shape.feed_forward_bias)
    norms = shape.block_norms * _norm(shape)
    embedding = shape.vocabulary * shape.hidden
    lm_head = (0 if shape.tied else embedding) + (shape.vocabulary if shape.head_bias else 0)
    shared = shape.layers * (attention + norms) + shape.dense_layers * dense + embedding + lm_head + _norm(shape)
    experts = shape.experts
    if experts is None:
        return Parameters(shared, shared, embedding, lm_head, attention, dense, 0, 0, attention + norms + dense)
    expert = _feed_forward(shape, experts.intermediate, experts.bias)
    router = experts.count * (shape.hidden + experts.bias) + (shape.hidden if experts.shared_gate else 0)
    beside = router
    if experts.shared_intermediate:
        beside += _feed_forward(shape, experts.shared_intermediate, False)
    total = shared + experts.layers * (beside + experts.count * expert)
    active = shared + experts.layers * (beside + experts.per_token * expert)
    layer = attention + norms + max(beside + experts.count * expert, dense if shape.dense_layers else 0)
    return Parameters(total, active, embedding, lm_head, attention, dense, expert, router, layer)


def _norm(shape: Shape) -> int:
    return shape.hidden * (2 if shape.norm_bias else 1)


def _feed_forward(shape: Shape, intermediate: int, bias: bool) -> int:
    into = 2 if shape.gated else 1
    weights = (into + 1) * shape.hidden * intermediate
    return weights + (into * intermediate + shape.hidden if bias else 0)


def _attention(shape: Shape) -> int:
    if shape.latent is not None:
        return _latent_attention(shape)
    queries, keys = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    weights = shape.hidden * (queries + 2 * keys) + queries * shape.hidden
    biases = (queries + 2 * keys if shape.query_key_value_bias else 0) + (shape.hidden if shape.output_bias else 0)
    norms = {"none": 0, "head": 2 * shape.head_dim, "full": queries + keys}[shape.query_key_norm]
    return weights + biases + norms * (2 if shape.norm_bias else 1) + (shape.heads if shape.sinks else 0)


def _latent_attention(shape: Shape) -> int:
    latent, heads, hidden = shape.latent, shape.heads, shape.hidden
    assert latent is not None
    queries = heads * (latent.plain_head_dim + latent.rotary_head_dim)
    if latent.query_rank is None:
        into = hidden * queries
    else:
        into = hidden * latent.query_rank + latent.query_rank + latent.query_rank * queries
        into += latent.query_rank if shape.query_key_value_bias else 0
    compressed = latent.key_value_rank + latent.rotary_head_dim
    keys = hidden * compressed + latent.key_value_rank
    keys += latent.key_value_rank * heads * (latent.plain_head_dim + latent.value_head_dim)
    keys += compressed if shape.query_key_value_bias else 0
    return into + keys + heads * latent.value_head_dim * hidden + (hidden if shape.output_bias else 0)
