"""Bytes that a forward pass keeps for the backward pass, and the logits beside them.

Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1, counts the tensors that each operator of a transformer layer
saves; equation 1 is that count for GPT, with 5as/h for the attention matrix. Here the same is counted for the blocks
of transformers 5.23 (RMSNorm, rotary embedding, grouped queries, gated feed-forward), checked against autograd's saved
tensors in tests/test_estimate_memory.py. With checkpointing (section 5) a layer keeps its input alone and one layer is
computed again at a time.
"""

from dataclasses import dataclass

from training.estimate.shape import Shape
from training.estimate.workload import BYTES, Workload

ADAPTED_LINEARS = 7
"""Linear layers of a gated block: each adapter keeps its r numbers a token (the input is kept for it in any case)."""
TILE_POSITIONS = 512
"""training.head projects so many positions at once; tests hold the two equal."""
SHARING_PAYS = 0.8
"""training.shared_context shares prompts up to this share of the tokens; tests hold the two equal."""
TRL_TILE = (4096, 32768)
"""TRL 1.16's fused head on a GPU: positions x vocabulary entries of one tile (kernels/chunked_logprob.py)."""

PYTHON_GELU = ("phi",)
"""Families whose activation is written out in elementary operators: three more tensors are kept."""
FUSED_QUERY_KEY_VALUE = ("phi3",)
"""Families whose value is a view of the fused projection, which is kept whole."""


@dataclass(frozen=True)
class Precision:
    """Bytes of a number in the residual stream, in a matrix product, and of each extra copy made by autocast."""

    residual: int
    product: int
    casts: bool


def precision(workload: Workload) -> Precision:
    """Under autocast the residual stream stays float32 and every linear layer keeps its own cast input."""
    product = BYTES[workload.compute_dtype]
    if product == 4:
        return Precision(4, 4, casts=False)
    return Precision(2, 2, casts=False) if workload.zero_stage > 0 else Precision(4, 2, casts=True)


def layer_bytes(shape: Shape, workload: Workload, sparse: bool) -> float:
    """Bytes that one layer saves for a token of a row."""
    kind = precision(workload)
    into, attention = _attention_numbers(shape, workload)
    width, inputs = _feed_forward_numbers(shape, sparse)
    if workload.lora is not None:
        width += ADAPTED_LINEARS * workload.lora.r
    saved = _norm_bytes(shape, kind, workload.lora is not None) + kind.product * (attention + width)
    if kind.casts:
        saved += kind.product * shape.hidden * (into + inputs)
    return saved + _attention_matrix(shape, workload)


def _norm_bytes(shape: Shape, kind: Precision, frozen: bool) -> float:
    """A norm keeps its input, the normed input (for its weight's gradient) and what it hands on.

    LayerNorm fuses the first two. In pure bf16, RMSNorm works on a float32 copy. Under autocast what is handed on is
    kept as the linear layers' cast inputs.
    """
    numbers = shape.block_norms * shape.hidden
    handed_on = 0 if kind.casts else kind.residual
    if shape.norm_bias:
        return numbers * (kind.residual + handed_on)
    return numbers * (4 + (0 if frozen else kind.residual) + handed_on)


def _attention_numbers(shape: Shape, workload: Workload) -> tuple[int, int]:
    """(projections of the hidden state, numbers a token keeps): query, key, value and the output's input.

    Grouped keys and values are repeated to all heads by eager attention, and by sdpa where rows are padded.
    """
    latent = shape.latent
    if latent is not None:
        query = shape.heads * (latent.plain_head_dim + latent.rotary_head_dim)
        value = shape.heads * latent.value_head_dim
        ranks = 3 * (latent.key_value_rank + (latent.query_rank or 0))
        return 2, 2 * query + 2 * value + ranks
    query, key = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    repeated = query if workload.attention == "eager" or _masked(workload) else key
    normed = 0 if shape.query_key_norm == "none" else 2 * (query + key)
    fused = query + key if shape.model_type in FUSED_QUERY_KEY_VALUE else 0
    return 3, 2 * query + 2 * repeated + normed + fused


def _masked(workload: Workload) -> bool:
    """Whether sdpa gets a mask: rows of one batch differ in length, a single row is not padded."""
    return workload.attention == "sdpa" and workload.rows > 1


def _attention_matrix(shape: Shape, workload: Workload) -> float:
    """Eager attention keeps its softmax (5as/h in Korthikanti's equation 1, without dropout).

    sdpa keeps a number a head, and in every layer the mask in the dtype of the queries. On a CPU it has no fused kernel
    for latent attention, whose keys and values differ in size.
    """
    length, product = workload.sequence_length, BYTES[workload.compute_dtype]
    if workload.attention == "eager" or (shape.latent is not None and workload.device == "cpu"):
        return float(shape.heads * length * (4 + (0 if product == 4 else product)))
    return 4.0 * shape.heads + (length * product if _masked(workload) else 0)


def _feed_forward_numbers(shape: Shape, sparse: bool) -> tuple[int, int]:
    """(numbers a token keeps, projections of the hidden state): gate, its activation, up and their product."""
    tensors, inputs = (4, 2) if shape.gated else (5 if shape.model_type in PYTHON_GELU else 2, 1)
    experts = shape.experts
    if experts is None or not sparse:
        return tensors * shape.intermediate, inputs
    routed = experts.per_token * (tensors * experts.intermediate + 2 * shape.hidden)
    return routed + tensors * experts.shared_intermediate, inputs


def activation_bytes(shape: Shape, workload: Workload) -> float:
    """Bytes kept by a micro-batch's forward pass through all layers, logits excluded."""
    tokens = forward_tokens(shape, workload)
    sparse = 0 if shape.experts is None else shape.experts.layers
    dense = layer_bytes(shape, workload, sparse=False)
    expert = layer_bytes(shape, workload, sparse=True)
    ends = 4 * shape.hidden * precision(workload).residual  # embedding, last norm, what the head takes
    if workload.checkpointing:
        inputs = shape.layers * shape.hidden * precision(workload).residual
        largest = max(dense if sparse < shape.layers else 0.0, expert if sparse else 0.0)
        return tokens * (inputs + largest + ends)
    return tokens * ((shape.layers - sparse) * dense + sparse * expert + ends)


def forward_tokens(shape: Shape, workload: Workload) -> float:
    """Tokens of a micro-batch's forward pass at its limits."""
    work = workload
    return tokens_with_shared_prompts(shape, work, work.sequence_length, work.prompt_length, work.completion_length)


def tokens_with_shared_prompts(shape: Shape, workload: Workload, row: float, prompt: float, completion: float) -> float:
    """Tokens of a forward pass over a micro-batch of rows of such lengths: shared prompts once, where that pays and no
    layer sees a window (`training.shared_context`)."""
    plain = workload.rows * row
    if workload.contexts is None or shape.sliding_layers:
        return plain
    shared = workload.contexts * prompt + workload.rows * completion
    return shared if shared <= SHARING_PAYS * plain else plain


def logit_bytes(shape: Shape, workload: Workload) -> float:
    """Bytes of logits and of what is derived from them at their worst moment, the backward pass of the last tile.

    `tile` is training.head on a CPU (one tile in float32, which becomes its own gradient; under bf16 half as much more,
    the product as it comes) and TRL's fused head on a GPU (one tile in the compute dtype); `full` holds all positions.
    A gradient of the head's weights waits in float32 for that of the embedding, per tile while they are summed.
    """
    positions = workload.rows * workload.sequence_length
    trained = positions * workload.trained_share
    gradient = 0.0 if workload.lora is not None else 4.0 * shape.vocabulary * shape.hidden
    if workload.head == "full":
        return positions * shape.vocabulary * 4.0 * 3 + gradient
    if workload.device == "gpu":
        rows, columns = TRL_TILE
        tile = min(rows, trained) * min(columns, shape.vocabulary) * BYTES[workload.compute_dtype]
        return 2 * tile + 4.0 * trained * shape.hidden + gradient
    number = 4.0 if workload.compute_dtype == "float32" else 4.0 + 2.0
    return min(TILE_POSITIONS, trained) * shape.vocabulary * number + gradient * (3 if trained > TILE_POSITIONS else 1)
