"""A run's report: headline, then the sections in reading order.

A part that cannot be made of what is left of a run says so in its place; the others are shown.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from training.progress import duration
from training.report.alarms import health_section
from training.report.collect import RunView, read_run
from training.report.curves import curves_section
from training.report.data_summary import data_section
from training.report.document import document
from training.report.generalisation import generalisation_section
from training.report.lineage_graph import lineage_section
from training.report.markup import Markup, element, section
from training.report.provenance import environment_section
from training.report.results import headline, results_section
from training.report.samples import samples_section
from training.report.time_spent import account_of, time_section
from training.summary import Summary, summarise_view

TITLES = {
    "results": "Results",
    "generalisation": "Generalisation",
    "curves": "Curves",
    "health": "Health",
    "time": "Time",
    "samples": "Samples",
    "data": "Data",
    "lineage": "Lineage",
    "environment": "Environment",
}
UNREADABLE = (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError)
"""What reading files that were cut, edited or written by something else may raise; told on the page."""


def render_page(run_dir: Path) -> str:
    """The HTML of a run's report; raises UserError when `run_dir` is no run folder."""
    run = read_run(run_dir)
    summary = summarise_view(run)
    makers: dict[str, Callable[[], Markup | None]] = {
        "results": lambda: results_section(summary),
        "generalisation": lambda: generalisation_section(summary),
        "curves": lambda: curves_section(run),
        "health": lambda: health_section(run),
        "time": lambda: time_section(run),
        "samples": lambda: samples_section(run),
        "data": lambda: data_section(run),
        "lineage": lambda: lineage_section(run),
        "environment": lambda: environment_section(run),
    }
    sections = {name: _made(name, make) for name, make in makers.items()}
    present = {name: content for name, content in sections.items() if content is not None}
    links = [element("a", TITLES[name], href=f"#{name}") for name in present]
    body = element(
        "main",
        _header(run, summary),
        element("nav", *links, aria_label="Sections"),
        _made("headline", lambda: headline(summary)),
        *present.values(),
    )
    return document(f"{run.name}: post-training report", body)


def _made(name: str, make: Callable[[], Markup | None]) -> Markup | None:
    """The part, or in its place why it cannot be shown."""
    try:
        return make()
    except UNREADABLE as error:
        text = f"This part cannot be shown: a file of the run is not as posttrain writes it ({_in_words(error)})."
        return section(name, TITLES.get(name, name.capitalize()), element("p", text, class_="banner"))


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _header(run: RunView, summary: Summary) -> Markup:
    kinds = " \u2192 ".join(stage.name for stage in run.stages if stage.kind != "evaluate")
    return element(
        "header",
        element("p", "Post-training report", class_="over"),
        element("h1", run.name),
        element("p", kinds, class_="chain"),
        _made("facts", lambda: _facts(run)),
        _banner("This run is damaged. What is left of it is shown.", summary.damage),
        _banner("This run is not finished. Missing:", run.missing),
    )


def _facts(run: RunView) -> Markup:
    facts = [str(run.pipeline.get("model") or ""), *_when(run)]
    return element("p", " \u00b7 ".join(fact for fact in facts if fact), class_="meta")


def _banner(title: str, lines: list[str]) -> Markup | None:
    if not lines:
        return None
    items = [element("li", line) for line in lines]
    return element("div", element("p", title), element("ul", *items), class_="banner")


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
