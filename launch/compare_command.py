"""What `posttrain compare` does: find the runs, compare, print; the page and JSON where asked for."""

import argparse
import json

from launch.compare_view import print_comparison
from launch.find_run import find_runs
from training.compare.comparison import compare_runs, comparison_json
from training.compare.page import comparison_page
from training.whole_text import write_whole


def compare(arguments: argparse.Namespace) -> int:
    """Compare runs; the folder of a sweep stands for all of its points."""
    compared = compare_runs([run.path for text in arguments.runs for run in find_runs(text)])
    if arguments.html is not None:  # first: whoever reads the text may have read enough
        write_whole(arguments.html, comparison_page(compared))
    if arguments.json:
        print(json.dumps(comparison_json(compared), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_comparison(compared)
        if arguments.html is not None:
            print(f"\npage: {arguments.html}")
    return 0
