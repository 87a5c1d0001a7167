"""The page of a comparison: whole, offline, small, and written whoever reads the text."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.errors import UserError
from tests.changed_run import change_pipeline, stage_of
from tests.chromium import find_chromium, open_browser
from tests.fake_run import write_lines
from tests.html_outline import Outline
from training.compare.comparison import compare_runs
from training.compare.page import comparison_page
from training.report.collect import read_lines, read_run
from training.whole_text import write_whole


def test_the_page_is_written_though_nobody_reads_the_text(before: Path, after: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "launch", "compare", str(before), str(after), "--html", str(page)]
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    subprocess.run(command, stdout=reader.stdin, stderr=subprocess.DEVNULL, check=False)
    assert page.read_text().startswith("<!doctype html>")


def test_a_folder_in_place_of_the_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_whole(tmp_path, "page")


def test_page_is_whole_html_with_every_section_and_no_script(before: Path, after: Path) -> None:
    change_pipeline(after, lambda pipeline: stage_of(pipeline, "sft")["trainer"].update(learning_rate="<script>"))
    page = Outline(comparison_page(compare_runs([before, after])))
    sections = [section["id"] for section in page.all("section")]
    assert sections == ["accuracy", "time", "curves", "config", "data", "stages"]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in sections]
    assert page.all("script") == []
    assert "<script>" in page.text


@pytest.mark.slow
def test_two_runs_of_ten_thousand_steps_make_a_small_page_in_seconds(before: Path, after: Path) -> None:
    for run in (before, after):
        folder = read_run(run).stage("grpo").folder
        rows = read_lines(folder / "metrics.jsonl")
        write_lines(folder / "metrics.jsonl", [rows[n % len(rows)] | {"step": n + 1} for n in range(10_000)])
    began = time.process_time()
    page = comparison_page(compare_runs([before, after]))
    assert time.process_time() - began < 10.0
    assert len(page.encode()) < 10_000_000


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 390])
def test_page_in_a_browser_draws_its_charts_silently_and_offline(before: Path, after: Path, width: int) -> None:
    path = before.parent / "page.html"
    path.write_text(comparison_page(compare_runs([before, after])))
    with open_browser(before.parent / "profile") as browser:
        browser.open(path, width)
        lengths = browser.evaluate("[...document.querySelectorAll('polyline.bold')].map(e => e.getTotalLength())")
        strips = browser.evaluate(
            "[...document.querySelectorAll('svg.strip, svg.bar')].filter(e => e.checkVisibility())"
            ".map(e => e.getBoundingClientRect().width)"
        )
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert len(lengths) > 30
    assert min(lengths) > 200
    assert min(strips) > 50
    assert browser.messages == []
    assert [url for url in browser.requests[1:] if not url.startswith("data:")] == []
