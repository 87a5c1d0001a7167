"""Stage kind `merge`: several models of one architecture into one, by mergekit (the extra `merge`).

linear: the weighted mean of the weights (model soups, arXiv 2203.05482). slerp: along the arc between two models.
task_arithmetic, ties, dare_ties add the weighted differences of the models to a base: all of each (arXiv 2212.04089),
the greatest by magnitude where most agree in sign (arXiv 2306.01708), or a random share, scaled up (arXiv 2311.03099).
"""

import shutil
from contextlib import ExitStack
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from training.context import StageContext, StageResult
from training.plan_parents import merge_base
from training.surgery.stage import make_model
from training.surgery.tensors import ShardWriter, WeightReader, read_config, write_beside
from training.surgery.upcycle import BIAS

DENSITY, HALFWAY = 0.5, 0.5
_MAY_DIFFER = ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache")


def require_mergekit(stage: str) -> None:
    """UserError where mergekit is not installed."""
    if find_spec("mergekit") is None:
        raise UserError(f"stages.{stage}: merging needs mergekit; pip install -c constraints.txt 'posttrain[merge]'")


def run(context: StageContext) -> StageResult:
    """Leave the merged model in `<folder>/model`; the caller writes the record."""
    stage = context.stage
    require_mergekit(stage.name)
    models = [context.folder_of(name) / "model" for name in stage.from_]
    base = [context.folder_of(name) / "model" for name in merge_base(stage)]
    require_alike([*models, *base], stage.name)
    settings = merge_settings(stage, models, base[0] if base else None)
    return make_model(context, lambda folder: merge(settings, folder, context.seed, stage.save_dtype))


def require_alike(models: list[Path], stage: str) -> None:
    """UserError for models whose configs differ in more than names and precision."""
    plain = [{k: v for k, v in read_config(model).items() if k not in _MAY_DIFFER} for model in models]
    for model, config in zip(models, plain, strict=True):
        different = sorted(key for key in plain[0].keys() | config if plain[0].get(key) != config.get(key))
        if different:
            raise UserError(
                f"stages.{stage}.from: {models[0].parent.name} and {model.parent.name} differ in "
                f"{', '.join(different)}; only models of one architecture and size can be merged"
            )


def merge_settings(stage: Any, models: list[Path], base: Path | None) -> dict[str, Any]:
    """Return mergekit's configuration of a merge; `stage` has the fields of MergeStage."""
    parts: list[dict[str, Any]] = [{"model": str(model)} for model in models]
    weights = stage.weights or [1.0] * len(models)
    settings: dict[str, Any] = {"merge_method": stage.method, "models": parts, "dtype": "float32"}
    if stage.method == "slerp":
        t = HALFWAY if stage.t is None else stage.t
        return settings | {"base_model": str(models[0]), "parameters": {"t": t}}
    for part, weight in zip(parts, weights, strict=True):
        part["parameters"] = {"weight": weight}
        if stage.method in ("ties", "dare_ties"):
            part["parameters"]["density"] = DENSITY if stage.density is None else stage.density
    settings["parameters"] = {"normalize": stage.method != "task_arithmetic"}
    return settings if base is None else settings | {"base_model": str(base)}


def merge(settings: dict[str, Any], folder: Path, seed: int, save_dtype: str | None = None) -> dict[str, Any]:
    """Run mergekit into `folder`, in float32, one tensor after the other; returns the number of parameters.

    Written in `save_dtype`; None gives each tensor the dtype it has in the models, the widest where they differ. A
    router's selection bias keeps its own in any case. Needs room for the float32 model beside the folder for a while.
    """
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    whole = folder.with_name(f".{folder.name}-float32")
    for made in (folder, whole):
        shutil.rmtree(made, ignore_errors=True)
    options = MergeOptions(
        copy_tokenizer=False, write_model_card=False, random_seed=seed, lazy_unpickle=False, quiet=True
    )
    run_merge(MergeConfiguration.model_validate(settings), str(whole), options=options)
    sources = [Path(part["model"]) for part in settings["models"]]
    parameters = write_cast(whole, folder, sources, save_dtype)
    shutil.rmtree(whole)
    return {"parameters": parameters}


def write_cast(whole: Path, folder: Path, sources: list[Path], save_dtype: str | None) -> int:
    """Copy the merged model in `whole` to `folder`, each tensor in its dtype; returns the number of parameters."""
    widest: torch.dtype | None = None
    writer = ShardWriter(folder)
    with ExitStack() as opened:
        merged, *readers = (opened.enter_context(WeightReader(source)) for source in (whole, *sources))
        for name in merged.names:
            found = [reader.dtype(name) for reader in readers if name in reader.places] or [merged.dtype(name)]
            dtype = reduce(torch.promote_types, found)
            if not name.endswith(BIAS):
                dtype = dtype if save_dtype is None else getattr(torch, save_dtype)
                widest = dtype if widest is None else torch.promote_types(widest, dtype)
            writer.add(name, merged.read(name).to(dtype))
    writer.close()
    config = {key: value for key, value in read_config(whole).items() if key != "torch_dtype"}
    write_beside(sources[0], folder, config, str(widest).removeprefix("torch."))
    return writer.parameters
