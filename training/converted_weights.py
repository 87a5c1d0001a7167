"""Resume of models whose checkpoints spell their weights otherwise than they lie in memory: fused experts.

transformers 5.23 keeps the experts of a layer in one tensor and saves them one by one, as they are published.
`from_pretrained` converts; the Trainer's resume (`_load_from_checkpoint`) does not: it warns of missing and unexpected
keys and goes on with the experts of the stage's start. `load_converted` loads such a checkpoint as it should be.
"""

from pathlib import Path
from typing import Any

import torch

from training.surgery.tensors import INDEX, SINGLE, WeightReader


def load_converted(model: Any, checkpoint: Path) -> bool:
    """Give `model` the weights of a checkpoint whose names are not its own; whether that was needed.

    Nothing is done for checkpoints of adapters or with the model's own names, which the Trainer has loaded.
    """
    if not any((checkpoint / name).is_file() for name in (SINGLE, INDEX)):
        return False
    with WeightReader(checkpoint) as reader:
        foreign = set(reader.names) - model.state_dict().keys()
    if not foreign:
        return False
    saved = type(model).from_pretrained(str(checkpoint), dtype=torch.float32, local_files_only=True)
    with torch.no_grad():
        own = model.state_dict()
        for name, tensor in saved.state_dict().items():
            own[name].copy_(tensor)
    return True


class LoadsConverted:
    """Mixin over a TRL trainer: `_load_from_checkpoint` (transformers 5.23) loads fused experts too."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        load_converted(self.model if model is None else model, Path(resume_from_checkpoint))  # type: ignore[attr-defined]
