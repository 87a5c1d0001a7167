"""What `posttrain data` does: examine, print, write one page and one file of flagged rows a stage."""

import argparse

from data.accounting import write_dropped
from data.errors import UserError
from launch.data_view import print_diagnosis
from launch.without_model import open_without_model
from training.whole_text import write_whole

FOLDER = "data"
"""The folder in a run's own in which pages and flagged rows lie."""


def examine_pipeline(arguments: argparse.Namespace) -> int:
    """Examine the stages of a pipeline; UserError if the rows of one are refused, or cannot be read at all."""
    for name in ("rows", "sample"):
        value = getattr(arguments, name)
        if value is not None and value < (name == "sample"):
            raise UserError(f"--{name} {value}: give a whole number from {int(name == 'sample')} on")
    pipeline, plan = open_without_model(arguments)
    from training.data_doctor import write_findings
    from training.data_report import diagnose
    from training.report.data_page import data_page, stage_section

    folder = plan.run_dir / FOLDER
    sections, refused = [], []
    found = diagnose(pipeline, plan, arguments.stage, arguments.rows, arguments.sample)
    for diagnosis, tokenizer in found:
        print_diagnosis(diagnosis, tokenizer, min(arguments.rows, 2))
        sections.append(stage_section(diagnosis, tokenizer))
        if diagnosis.found is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_findings(folder / f"{diagnosis.name}.flagged.jsonl", diagnosis.found)
            write_dropped(folder / f"{diagnosis.name}.dropped.jsonl", diagnosis.accounts)
        if diagnosis.refusal is not None:
            refused.append(diagnosis.refusal)
    if not sections:
        raise UserError("no stage of this pipeline has data: there is nothing to examine")
    page = arguments.html or folder / "data.html"
    write_whole(page, data_page(pipeline.name, sections))
    print(f"page: {page}")
    for listed in sorted(folder.glob("*.jsonl")):
        print(f"row numbers: {listed}")
    if refused:
        raise UserError("\n".join(refused))
    return 0
