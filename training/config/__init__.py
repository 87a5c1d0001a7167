"""The pipeline file: its schema, its errors and its loading. Imports neither torch nor trl nor transformers."""

from training.config.data_blocks import DataBlock, Generator, Suite
from training.config.decoding import Decoding, EvaluateBlock
from training.config.errors import ConfigError
from training.config.export import ExportStage
from training.config.json_schema import json_schema
from training.config.load import load_pipeline
from training.config.pipeline import Pipeline
from training.config.runtime import Runtime
from training.config.stage_base import MergeStage, StageBase, SurgeryStage, UpcycleStage, UpscaleStage
from training.config.stage_parts import Gate, Lora, RewardSpec
from training.config.stages import (
    MODEL_KINDS,
    SURGERY_KINDS,
    TRAINING_KINDS,
    DpoStage,
    EvaluateStage,
    GrpoStage,
    LikelihoodStage,
    ModelStage,
    PretrainStage,
    RewardModelStage,
    SampleStage,
    SftStage,
    Stage,
    TrainingStage,
)

__all__ = [
    "MODEL_KINDS",
    "SURGERY_KINDS",
    "TRAINING_KINDS",
    "ConfigError",
    "DataBlock",
    "Decoding",
    "DpoStage",
    "EvaluateBlock",
    "EvaluateStage",
    "ExportStage",
    "Gate",
    "Generator",
    "GrpoStage",
    "LikelihoodStage",
    "Lora",
    "MergeStage",
    "ModelStage",
    "Pipeline",
    "PretrainStage",
    "RewardModelStage",
    "RewardSpec",
    "Runtime",
    "SampleStage",
    "SftStage",
    "Stage",
    "StageBase",
    "Suite",
    "SurgeryStage",
    "TrainingStage",
    "UpcycleStage",
    "UpscaleStage",
    "json_schema",
    "load_pipeline",
]
