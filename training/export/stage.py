"""Stage kind `export`: the parent model as one folder of safetensors, and as GGUF files that were read back.

`model/` holds config, tokenizer with its template, and weights with any adapter merged in. Rank 0 writes, others wait.
"""

import json
from typing import Any

from training.context import StageContext, StageResult
from training.export.gguf_check import check_gguf
from training.export.gguf_tensors import require_architecture, write_gguf
from training.facts import tokenizer_facts
from training.models import load_policy, load_tokenizer, save_policy, weights_folder
from training.world import others_wait

GGUF_FOLDER = "gguf"


def run(context: StageContext) -> StageResult:
    """Write the model in every form asked for; the record has each file's hash and what each GGUF type costs."""
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    context.ledger.begin()
    context.state.update(force=True, phase="save")
    metrics: dict[str, Any] = {}
    files: list[str] = []
    with others_wait(context.world):
        if context.world.is_main:
            metrics, files = write_forms(context, tokenizer)
    context.ledger.end_step()
    return StageResult(metrics, None, [], tokenizer_facts(tokenizer), files)


def write_forms(context: StageContext, tokenizer: Any) -> tuple[dict[str, Any], list[str]]:
    """Write `model/` and the GGUF files; returns (what each type costs, the places of the GGUF files)."""
    stage = context.stage
    if stage.gguf:
        config = json.loads((weights_folder(context.parent_model) / "config.json").read_text())
        require_architecture(config, stage.name)
    model = load_policy(context.parent_model).eval()
    save_policy(model, model.state_dict(), tokenizer, context.folder / "model", stage.save_dtype)
    context.say(f"model/: safetensors in {stage.save_dtype}, {parameters_in_words(model)}")
    written = {wanted: write_checked(context, model, tokenizer, wanted) for wanted in stage.gguf}
    return {wanted: cost for wanted, (_, cost) in written.items()}, [place for place, _ in written.values()]


def write_checked(context: StageContext, model: Any, tokenizer: Any, wanted: str) -> tuple[str, dict[str, Any]]:
    """Write one GGUF file and read it back; returns its place in the stage's folder and what the record says of it."""
    name = f"{context.pipeline.name}-{context.parent_name}"
    path = write_gguf(model, tokenizer, context.folder / GGUF_FOLDER, wanted, name)
    cost = check_gguf(path, wanted, model, tokenizer)
    size, same = path.stat().st_size / 1e6, 100 * cost["same_top_token"]
    context.say(
        f"{path.name}: {size:.1f} MB; read back, {cost['mean_kl']:.2g} nats a token from the model, same top token at "
        f"{same:.0f} % of positions"
    )
    return f"{GGUF_FOLDER}/{path.name}", {"bytes": path.stat().st_size, **cost}


def parameters_in_words(model: Any) -> str:
    """How many weights a model has."""
    count = sum(parameter.numel() for parameter in model.parameters())
    return f"{count / 1e9:.1f} B weights" if count >= 1e9 else f"{count / 1e6:.1f} M weights"
