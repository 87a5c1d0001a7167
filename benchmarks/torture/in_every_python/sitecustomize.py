"""Imported by every Python that the torture test starts as a user would: watches the points of those that are ranks."""

import atexit
import os
import sys
from pathlib import Path

from benchmarks.torture.points import watch

if "POSTTRAIN_TORTURE_NOTES" in os.environ:
    points = watch(
        Path(os.environ["POSTTRAIN_TORTURE_NOTES"]), Path(os.environ["POSTTRAIN_TORTURE_RUN_DIR"]), sys.orig_argv
    )
    if points is not None:
        atexit.register(points.finish)
