"""The report of a run: one self-contained HTML page that opens offline, written from what lies in the run folder.

`collect` reads the folder, `charts` draws SVG, other modules turn one part of the run into HTML each and `page` puts
them in order. Nothing here trains, measures or changes a run; an unfinished run gives a page that says what is missing.
"""

from pathlib import Path

from training.whole_text import write_whole

REPORT_NAME = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run folder, replacing an older one in one move, and return its path.

    Raises UserError when `run_dir` is not a run folder.
    """
    # Imported here because training.summary reads runs with training.report.collect, and the page shows the summary.
    from training.report.page import render_page

    path = Path(run_dir) / REPORT_NAME
    write_whole(path, render_page(Path(run_dir)))  # jobs of one run may end at once
    return path
