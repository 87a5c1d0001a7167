"""Arguments that several verbs take."""

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """CONFIG, its overrides and the run folder."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the pipeline's YAML file")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key.path=value", help="replace values of the YAML")
    parser.add_argument("--run-dir", type=Path, help="the run folder (default: <runtime.runs_dir>/<name>)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """RUN: a run that exists."""
    parser.add_argument("run", help="a run folder, the name of one under runs/, or a CONFIG")


def add_debug(parser: argparse.ArgumentParser) -> None:
    """--debug, which every verb but `schema` takes; comes last in its help."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
