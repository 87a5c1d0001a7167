"""A run's report: headline, then the sections in reading order."""

from datetime import datetime
from pathlib import Path

from training.progress import duration
from training.report.collect import RunView, read_run
from training.report.curves import curves_section
from training.report.document import document
from training.report.generalisation import generalisation_section
from training.report.lineage_graph import lineage_section
from training.report.markup import Markup, element
from training.report.provenance import data_section, environment_section
from training.report.results import headline, results_section
from training.report.samples import samples_section
from training.report.time_spent import account_of, time_section
from training.summary import Summary, summarise_view

TITLES = {
    "results": "Results",
    "generalisation": "Generalisation",
    "curves": "Curves",
    "time": "Time",
    "samples": "Samples",
    "data": "Data",
    "lineage": "Lineage",
    "environment": "Environment",
}


def render_page(run_dir: Path) -> str:
    """The HTML of a run's report; raises UserError when `run_dir` is no run folder."""
    run = read_run(run_dir)
    summary = summarise_view(run)
    sections = {
        "results": results_section(summary),
        "generalisation": generalisation_section(summary),
        "curves": curves_section(run),
        "time": time_section(run),
        "samples": samples_section(run),
        "data": data_section(run),
        "lineage": lineage_section(run),
        "environment": environment_section(run),
    }
    present = {name: content for name, content in sections.items() if content is not None}
    links = [element("a", TITLES[name], href=f"#{name}") for name in present]
    body = element(
        "main",
        _header(run, summary),
        element("nav", *links, aria_label="Sections"),
        headline(summary),
        *present.values(),
    )
    return document(f"{run.name}: post-training report", body)


def _header(run: RunView, summary: Summary) -> Markup:
    kinds = " \u2192 ".join(stage.name for stage in run.stages if stage.kind != "evaluate")
    facts = [str(run.pipeline.get("model", "")), *_when(run)]
    banner = None
    if summary.missing:
        items = [element("li", line) for line in summary.missing]
        banner = element(
            "div", element("p", "This run is not finished. Missing:"), element("ul", *items), class_="banner"
        )
    return element(
        "header",
        element("p", "Post-training report", class_="over"),
        element("h1", run.name),
        element("p", kinds, class_="chain"),
        element("p", " \u00b7 ".join(fact for fact in facts if fact), class_="meta"),
        banner,
    )


def _when(run: RunView) -> list[str]:
    """The day the last stage finished, the time all stages took, and where they ran."""
    records = [stage.record for stage in run.stages if stage.record]
    if not records:
        return []
    facts = []
    last = max(str(record.get("finished_at", "")) for record in records)
    if last:
        facts.append(f"{datetime.fromisoformat(last):%d %B %Y, %H:%M}".lstrip("0"))
    seconds = sum(account.wall_s for stage in run.stages if (account := account_of(stage)) is not None)
    if seconds:
        facts.append(f"{duration(seconds)} in all stages")
    environment = records[-1].get("environment") or {}
    if environment.get("device"):
        processes = environment.get("processes") or 1
        facts.append(f"{processes} process{'es' if processes > 1 else ''} on {environment['device']}")
    return facts
