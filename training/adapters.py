"""LoRA, DoRA and QLoRA through peft: the config a trainer gets, and what an adapter run leaves behind."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from data.errors import UserError
from training.model_files import CARD_NAME
from training.models import BASE_LINK, load_policy, whole_on_this_rank
from training.reward_scores import load_reward_model

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel


def lora_config(lora: Any, kind: str) -> "LoraConfig":
    """The peft config of the `lora:` block of a stage of this kind; a reward model's head is trained whole."""
    from peft import LoraConfig

    scores = kind == "reward_model"
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        use_dora=lora.dora,
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
        modules_to_save=["score"] if scores else None,
    )


def require_quantizer(stage: Any) -> None:
    """Refuse `lora.quantize` where it cannot work: it needs a CUDA GPU and the package bitsandbytes."""
    import importlib.util

    import torch

    if stage.lora is None or stage.lora.quantize is None:
        return
    if not torch.cuda.is_available():
        raise UserError(
            f"stages.{stage.name}.lora.quantize: nf4 needs a CUDA GPU; remove it, and the frozen weights stay whole"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"stages.{stage.name}.lora.quantize: nf4 needs bitsandbytes; pip install bitsandbytes")


def quantized_policy(folder: Path, attention: str | None) -> "PreTrainedModel":
    """Load `folder` in 4-bit NormalFloat for QLoRA (arXiv 2305.14314). Needs a GPU and bitsandbytes; not run by us."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    return AutoModelForCausalLM.from_pretrained(
        str(folder), quantization_config=settings, local_files_only=True, **options
    )


def _adapted(parent: Path, stage: Any, state: dict[str, Any]) -> Any:
    from peft import get_peft_model

    with whole_on_this_rank():
        plain = load_reward_model(parent) if stage.kind == "reward_model" else load_policy(parent)
    model = get_peft_model(plain, lora_config(stage.lora, stage.kind))
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    untrained = [name for name, p in model.named_parameters() if p.requires_grad and name not in state]
    assert not [*unknown, *untrained], f"the trained adapter has other names: {[*unknown, *untrained][:3]}"
    return model


def merged_model(parent: Path, stage: Any, state: dict[str, Any]) -> "PreTrainedModel":
    """The parent's full-precision weights with the trained adapter `state` (parameter name -> tensor) folded in."""
    return cast("PreTrainedModel", _adapted(parent, stage, state).merge_and_unload())


def save_adapter(parent: Path, stage: Any, state: dict[str, Any], folder: Path) -> None:
    """Write the adapter in `save_dtype` and, beside it, where its base lies relative to it."""
    import torch

    _adapted(parent, stage, state).to(getattr(torch, stage.save_dtype)).save_pretrained(str(folder))
    (folder / CARD_NAME).unlink(missing_ok=True)  # peft's says nothing; ours comes once the model is measured
    (folder / BASE_LINK).write_text(json.dumps({"base": os.path.relpath(parent, folder)}))
