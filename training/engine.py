"""The engine under a trainer: told to accelerate and DeepSpeed before they are imported, checked before training.

Both fall back to something else in silence; this module is where that is refused.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.build_lock import remove_stale_locks
from training.config.deepspeed_file import look_up, read_file
from training.environment import has_accelerator

if TYPE_CHECKING:
    from training.config import Pipeline
    from training.context import StageContext


def prepare_engine(pipeline: "Pipeline") -> None:
    """Tell accelerate and DeepSpeed what they will be before anything imports them: a late word is not heard.

    Without a GPU two ranks would otherwise run as two separate single processes, in silence (FACTS: trap 13).
    """
    on_gpu = has_accelerator()
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # precision is the stage's bf16 and fp16, and identity
    if not on_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    if pipeline.runtime.zero_stage > 0:
        require_compiler()
        if os.environ.get("LOCAL_RANK", "0") == "0":
            for path in remove_stale_locks():
                print(f"removed {path}, which a killed process left: DeepSpeed would have waited for it", flush=True)
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        os.environ.pop("ACCELERATE_USE_CPU", None)  # accelerate would leave DeepSpeed out without a word
    else:
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
        if not on_gpu:
            os.environ["ACCELERATE_USE_CPU"] = "true"
    if pipeline.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def require_compiler() -> None:
    """On a CPU DeepSpeed builds its shared-memory operator at the first start: it needs ninja (ours) and a compiler."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if os.environ.get("DS_ACCELERATOR") == "cpu" and shutil.which(os.environ.get("CXX", "c++")) is None:
        raise UserError(
            "runtime.zero_stage: DeepSpeed on a CPU needs a C++ compiler (Debian: apt-get install g++); "
            "install one, or set runtime.zero_stage to 0"
        )


def check_launcher_agrees(runtime: Any, environment: dict[str, str]) -> None:
    """Refuse a DeepSpeed config that `accelerate launch` brings along when it says another ZeRO stage than ours."""
    path = environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    if not path:
        return
    content = read_file(Path(path))
    if isinstance(content, str):
        raise UserError(f"accelerate's DeepSpeed file {path} {content}")
    stage = look_up(content, "zero_optimization.stage", 0)
    if stage != runtime.zero_stage:
        raise UserError(
            f"accelerate's {path} has ZeRO stage {stage}, runtime.zero_stage says {runtime.zero_stage}; "
            f"pass --set runtime.zero_stage={stage} or another file"
        )


def require_engine(trainer: Any, context: "StageContext") -> None:
    """Our invariant: the ranks and the engine are those the config names (accelerate falls back in silence)."""
    assert trainer.accelerator.num_processes == context.world.size, trainer.accelerator.state
    precision = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "no"
    assert trainer.accelerator.mixed_precision == precision, trainer.accelerator.state
    assert trainer.is_deepspeed_enabled == (context.pipeline.runtime.zero_stage > 0), trainer.accelerator.state
