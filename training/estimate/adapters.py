"""Linear layers of a model and the numbers that LoRA adds to them (arXiv 2106.09685, section 4.1)."""

from training.estimate.shape import Shape
from training.estimate.workload import Adapters

ADAPTED_EXPERTS = ("mixtral", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3", "glm4_moe")
"""Where peft 0.21 turns the names of expert projections into adapters on the stacked expert weights and the router; the
dense and shared feed-forward blocks of these models then have none."""
FUSED_ATTENTION = ("phi3",)
FUSED_FEED_FORWARD = ("phi3", "glm4")
PLAIN_FEED_FORWARD = {"phi": ("fc1", "fc2"), "starcoder2": ("c_fc", "c_proj")}


def adapter_parameters(shape: Shape, lora: Adapters) -> int:
    """Numbers that rank-r adapters train: r x (in + out) for every adapted linear layer or expert."""
    blocks = [(shape.layers, attention_linears(shape))]
    if shape.model_type in ADAPTED_EXPERTS:
        blocks += stacked_experts(shape)
    else:
        blocks += feed_forward_linears(shape)
    return sum(
        layers * lora.r * (into + out)
        for layers, linears in blocks
        for name, (into, out) in linears.items()
        if lora.targets == "all-linear" or name in lora.targets
    )


def stacked_experts(shape: Shape) -> list[tuple[int, dict[str, tuple[int, int]]]]:
    """As `feed_forward_linears`, for one rank of all experts together; gate and up are fused at twice the rank."""
    experts, hidden = shape.experts, shape.hidden
    assert experts is not None
    fused = experts.count * (hidden + 2 * experts.intermediate)
    down = (experts.count * experts.intermediate, experts.count * hidden)
    return [
        (
            experts.layers,
            {"gate_proj": (fused, 0), "up_proj": (fused, 0), "down_proj": down, "gate": (hidden, experts.count)},
        )
    ]


def attention_linears(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name -> (inputs, outputs) of one attention block's projections."""
    hidden, latent = shape.hidden, shape.latent
    if latent is not None:
        query = shape.heads * (latent.plain_head_dim + latent.rotary_head_dim)
        first: dict[str, tuple[int, int]] = {"q_proj": (hidden, query)}
        if latent.query_rank is not None:
            first = {"q_a_proj": (hidden, latent.query_rank), "q_b_proj": (latent.query_rank, query)}
        return first | {
            "kv_a_proj_with_mqa": (hidden, latent.key_value_rank + latent.rotary_head_dim),
            "kv_b_proj": (latent.key_value_rank, shape.heads * (latent.plain_head_dim + latent.value_head_dim)),
            "o_proj": (shape.heads * latent.value_head_dim, hidden),
        }
    query, key = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    if shape.model_type in FUSED_ATTENTION:
        return {"qkv_proj": (hidden, query + 2 * key), "o_proj": (query, hidden)}
    out = "dense" if shape.model_type == "phi" else "o_proj"
    return {"q_proj": (hidden, query), "k_proj": (hidden, key), "v_proj": (hidden, key), out: (query, hidden)}


def feed_forward_linears(shape: Shape) -> list[tuple[int, dict[str, tuple[int, int]]]]:
    """(layers, name -> (inputs, outputs)) of the dense feed-forward blocks and of the experts all tokens share."""
    blocks = [(shape.dense_layers, _feed_forward(shape, shape.intermediate))]
    experts = shape.experts
    if experts is not None and experts.shared_intermediate:
        shared = _feed_forward(shape, experts.shared_intermediate)
        gate = {"shared_expert_gate": (shape.hidden, 1)} if experts.shared_gate else {}
        blocks.append((experts.layers, shared | gate))
    return blocks


def _feed_forward(shape: Shape, intermediate: int) -> dict[str, tuple[int, int]]:
    hidden = shape.hidden
    if not shape.gated:
        into, out = PLAIN_FEED_FORWARD[shape.model_type]
        return {into: (hidden, intermediate), out: (intermediate, hidden)}
    down = {"down_proj": (intermediate, hidden)}
    if shape.model_type in FUSED_FEED_FORWARD:
        return {"gate_up_proj": (hidden, 2 * intermediate)} | down
    return {"gate_proj": (hidden, intermediate), "up_proj": (hidden, intermediate)} | down
