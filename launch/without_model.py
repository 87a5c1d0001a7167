"""Commands that read rows and compute, yet load no model: the pipeline and its plan, and no device for libraries."""

import argparse
import os

from training.config import Pipeline, load_pipeline
from training.plan import RunPlan, plan_run
from training.run_folder import RunFolder, run_path


def open_without_model(arguments: argparse.Namespace) -> tuple[Pipeline, RunPlan]:
    """Load and plan the pipeline of the command line; UserError where its run folder is another pipeline's."""
    from training.run_stage import quiet_libraries

    pipeline = load_pipeline(arguments.config, arguments.overrides)
    run = RunFolder(run_path(pipeline, arguments.run_dir))
    run.check(pipeline.name)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    quiet_libraries()
    return pipeline, plan_run(pipeline, run.path)
