"""One stage as one rank sees it: what decides memory and time, free of config classes, torch and units of the model."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["pretrain", "sft", "dpo", "grpo", "reward_model", "sample", "evaluate"]
Dtype = Literal["float32", "bfloat16", "float16"]
BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Adapters:
    """LoRA or QLoRA (arXiv 2106.09685, 2305.14314): rank, the modules adapted, whether frozen weights are nf4, and
    whether the artifact is the merged model.
    """

    r: int
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    quantized: bool = False
    merged: bool = True


@dataclass(frozen=True)
class Workload:
    """Work of one stage on one rank; lengths in tokens, padding included, rows counted as the forward sees them.

    `micro_batch` counts rows (sft), pairs (dpo, reward_model: two rows each) or completions (grpo) of one rank's
    micro-batch; `accumulation` such micro-batches make an optimizer step. `sequence_length` is the width of a batch,
    `trained_share` the share of its positions with a label. `generation_rows` are decoded together, each up to
    `prompt_length` + `completion_length` tokens long. `contexts` prompts of a micro-batch run once for all of its
    completions (`training.shared_context`); None where each row runs its own. `scoring_parameters` are those of a
    reward model that each rank holds whole beside the policy; with `copies_policy` it holds the policy's weights twice.
    """

    kind: Kind
    ranks: int = 1
    device: Literal["cpu", "gpu"] = "gpu"
    zero_stage: int = 0
    offload_optimizer: bool = False
    offload_parameters: bool = False
    micro_batch: int = 1
    accumulation: int = 1
    sequence_length: int = 0
    prompt_length: int = 0
    completion_length: int = 0
    generation_rows: int = 0
    compute_dtype: Dtype = "float32"
    checkpointing: bool = False
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    lora: Adapters | None = None
    reference: Literal["none", "copy", "precomputed", "adapter_off"] = "none"
    head: Literal["tile", "full"] = "tile"
    trained_share: float = 1.0
    contexts: int | None = None
    packs: bool = False
    scoring_parameters: int = 0
    copies_policy: bool = False

    @property
    def trains(self) -> bool:
        """Whether the stage has gradients and an optimizer."""
        return self.kind not in ("sample", "evaluate")

    @property
    def is_of_pairs(self) -> bool:
        """Whether what a batch counts is two rows: a chosen and a rejected answer."""
        return self.kind in ("dpo", "reward_model")

    @property
    def rows(self) -> int:
        """Rows of one forward pass."""
        return 2 * self.micro_batch if self.is_of_pairs else self.micro_batch
