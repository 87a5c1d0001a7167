"""The pipeline file: its schema, its errors and its loading. Imports neither torch nor trl nor transformers."""

from training.config.data_blocks import DataBlock, Generator, Suite
from training.config.decoding import Decoding, EvaluateBlock
from training.config.errors import ConfigError
from training.config.json_schema import json_schema
from training.config.load import load_pipeline
from training.config.pipeline import Pipeline
from training.config.runtime import Runtime
from training.config.stage_parts import Gate, Lora, RewardSpec
from training.config.stages import (
    MODEL_KINDS,
    TRAINING_KINDS,
    DpoStage,
    EvaluateStage,
    GrpoStage,
    ModelStage,
    RewardModelStage,
    SampleStage,
    SftStage,
    Stage,
    StageBase,
    TrainingStage,
)

__all__ = [
    "MODEL_KINDS",
    "TRAINING_KINDS",
    "ConfigError",
    "DataBlock",
    "Decoding",
    "DpoStage",
    "EvaluateBlock",
    "EvaluateStage",
    "Gate",
    "Generator",
    "GrpoStage",
    "Lora",
    "ModelStage",
    "Pipeline",
    "RewardModelStage",
    "RewardSpec",
    "Runtime",
    "SampleStage",
    "SftStage",
    "Stage",
    "StageBase",
    "Suite",
    "TrainingStage",
    "json_schema",
    "load_pipeline",
]
