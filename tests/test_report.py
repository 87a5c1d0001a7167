"""The report: everything a run has is on the page, everything it lacks is named, and nothing it holds can run."""

import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from data.errors import UserError
from tests.chromium import find_chromium, open_browser
from tests.fake_run import HOSTILE, write_fake_run
from tests.html_outline import Outline
from training.metric_names import describe, render_markdown
from training.progress import duration
from training.report import write_report
from training.report.charts import Series, line_chart
from training.report.collect import read_lines, read_run
from training.report.markup import Markup, element, join
from training.report.samples import pick, said
from training.report.scale import Scale, axis_labels, figure, nice_ticks, points, smoothed, thinned
from training.report.style import STYLE
from training.report.time_spent import account_of


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Outline:
    return Outline(write_report(write_fake_run(tmp_path_factory.mktemp("run"))).read_text())


def test_report_of_a_finished_run_has_every_section(page: Outline) -> None:
    sections = [section["id"] for section in page.all("section")]
    wanted = ["results", "generalisation", "curves", "health", "time", "samples", "data", "lineage", "environment"]
    assert sections == wanted
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in wanted]
    assert "not finished" not in page.text


def test_report_shows_accuracy_interval_and_n_of_every_model(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    text = Outline(write_report(run).read_text()).text
    for stage in read_run(run).stages:
        if stage.kind == "evaluate":
            score = stage.record["metrics"]["in_domain"]
            low, high = (100 * bound for bound in score["ci95"])
            assert f"{100 * score['accuracy']:.1f} %{low:.1f}\u2013{high:.1f}" in text
    assert "n=128" in text
    assert "grpo against sft" in text
    assert "no measurable change" in text


def test_report_is_self_contained(page: Outline) -> None:
    names = {name for name, _ in page.tags}
    assert names.isdisjoint({"script", "img", "iframe", "object", "embed", "form", "base"})
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
        assert "src" not in attributes


def test_report_shows_hostile_completions_as_text(page: Outline) -> None:
    assert page.text.count("<script>") >= 4
    assert HOSTILE.split("\u2028")[0] in page.text


def test_every_chart_says_in_words_what_it_shows(page: Outline) -> None:
    drawings = page.all("svg")
    assert len(drawings) > 30
    assert all(svg["role"] == "img" and len(svg["aria-label"] or "") > 10 for svg in drawings)
    (loss, *_) = [svg["aria-label"] for svg in drawings if (svg["aria-label"] or "").startswith("Loss in nats")]
    assert "at step 40" in loss


def test_every_table_has_a_caption_and_scoped_headers(page: Outline) -> None:
    assert len(page.all("table")) == len(page.all("caption"))
    assert {head.get("scope") for head in page.all("th")} == {"col", "row"}


@pytest.mark.parametrize("finished", ["base", "evaluate-base", "sft", "evaluate-sft", "pairs", "dpo", "evaluate-dpo"])
def test_report_of_an_unfinished_run_names_what_is_missing(tmp_path: Path, finished: str) -> None:
    outline = Outline(write_report(write_fake_run(tmp_path, finished=finished)).read_text())
    assert "This run is not finished" in outline.text
    assert "evaluate-grpo: not run" in outline.text


def test_report_of_a_run_without_any_stage_is_written(tmp_path: Path) -> None:
    resolved = {"name": "fresh", "model": "bundled:x", "schema_version": 1, "stages": []}
    (tmp_path / "pipeline.resolved.json").write_text(json.dumps(resolved))
    assert "No model has been measured yet" in Outline(write_report(tmp_path).read_text()).text


def test_report_replaces_the_older_one_and_leaves_no_partial_file(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    (run / "report.html").write_text("old")
    before = {path.name for path in run.iterdir()}
    assert write_report(run).read_text() != "old"
    assert {path.name for path in run.iterdir()} == before


def test_report_of_a_folder_that_is_no_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pipeline\.resolved\.json"):
        write_report(tmp_path)


def test_report_warns_when_stages_ran_in_different_environments(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    folder = read_run(run).stage("dpo").folder
    record = json.loads((folder / "record.json").read_text())
    record["environment"]["packages"]["trl"] = "1.17.0"
    (folder / "record.json").write_text(json.dumps(record))
    assert "package trl (1.16.0, 1.17.0)" in Outline(write_report(run).read_text()).text


def test_writing_a_report_imports_no_torch(tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys; from pathlib import Path; from training.report import write_report; "
        "write_report(Path(sys.argv[1])); print(sorted({'torch', 'trl', 'transformers', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(write_fake_run(tmp_path))],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_collect_without_written_folders_takes_the_newest_record(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path, with_folders=False)
    used = read_run(run).stage("dpo").folder
    older = run / f"05-dpo-{'f' * 8}"
    shutil.copytree(used, older)
    record = json.loads((older / "record.json").read_text())
    for day, expected in (("2025-01-01", used), ("2027-01-01", older)):
        (older / "record.json").write_text(json.dumps(record | {"finished_at": f"{day}T00:00:00+00:00"}))
        assert read_run(run).stage("dpo").folder == expected


def test_collect_follows_the_folders_that_the_runner_wrote_down(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    used = read_run(run).stage("dpo").folder
    other = run / f"05-dpo-{'f' * 8}"
    shutil.copytree(used, other)
    record = json.loads((other / "record.json").read_text())
    (other / "record.json").write_text(json.dumps(record | {"finished_at": "2027-01-01T00:00:00+00:00"}))
    assert read_run(run).stage("dpo").folder == used


def test_read_lines_skips_a_line_cut_off_and_keeps_line_separators_inside_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "one\u2028two"}\n{"a": 2}\n{"a": 3', encoding="utf-8")
    assert read_lines(path) == [{"a": "one\u2028two"}, {"a": 2}]


def test_markup_escapes_everything_but_markup() -> None:
    assert element("p", "<b>", Markup("<i></i>"), title='"x"') == '<p title="&quot;x&quot;">&lt;b&gt;<i></i></p>'
    assert join("a\x00b", None, ["<", 1]) == "a\ufffdb&lt;1"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.5, 1]),
        (0.13, 0.87, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3, 41, [-20, 0, 20, 40, 60]),
        (5, 5, [4.5, 5.0, 5.5]),
        (1e-5, 1e-4, [0, 5e-5, 1e-4]),
    ],
)
def test_nice_ticks_are_round_and_cover_the_values(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert found == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1e-4, "1e-4"),
        (0.01234, "0.01234"),
        (12345.6, "12,346"),
        (2.5e6, "2.5 M"),
        (float("nan"), "not a number"),
    ],
)
def test_figure_table(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([5.54, 5.5405, 5.541], ["5.5400", "5.5405", "5.5410"]),
        ([-0.02, 0.0, 0.02], ["\u22120.02", "0.00", "0.02"]),
        ([0.0, 5e-5, 1e-4], ["0", "5e-5", "1e-4"]),
        ([0.0, 1000.0, 2000.0], ["0", "1,000", "2,000"]),
        ([8e-4, 1e-3], ["8e-4", "1e-3"]),
    ],
)
def test_axis_labels_tell_neighbours_apart(ticks: list[float], labels: list[str]) -> None:
    assert axis_labels(ticks) == labels


def test_blank_completions_are_named() -> None:
    assert said("\n" * 90) == '<p class="empty">blank (90 characters)</p>'
    assert said(" a\n\n") == '<pre dir="auto"> a</pre>'


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (59, "59 s"), (125, "2 min 05 s"), (7500, "2 h 05 min")])
def test_duration_table(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_points_have_a_sign() -> None:
    assert (points(0.008), points(-0.031)) == ("+0.8", "\u22123.1")


def test_scale_maps_ends_and_holds_outliers() -> None:
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10, 99, -1)] == [100, 50, 0, 0, 100]


def test_smoothed_keeps_a_straight_line_and_its_length() -> None:
    line = [float(value) for value in range(48)]
    averaged, window = smoothed(line)
    assert averaged == pytest.approx(line)
    assert window == 7


def test_thinned_keeps_the_mean_and_the_limit() -> None:
    found = thinned([(float(x), float(x % 7)) for x in range(2100)], most=300)
    assert len(found) == 300
    assert all((span.mean, span.low, span.high) == (3.0, 0.0, 6.0) for span in found)
    assert (found[0].first, found[0].last, found[-1].last) == (0.0, 6.0, 2099.0)


def test_line_chart_of_one_step_draws_a_dot() -> None:
    assert 'class="dot"' in line_chart("Loss", "nats", [Series("loss", [(1.0, 2.0)])])


def test_pick_finds_one_gained_one_lost_one_never_answered() -> None:
    def rows(*correct: int) -> dict[str, dict[str, int]]:
        return {str(item): {"correct": value} for item, value in enumerate(correct)}

    assert pick({"base": rows(1, 0, 1, 0), "sft": rows(1, 0, 0, 1)}) == [
        ("gained", "3"),
        ("lost", "2"),
        ("never answered", "1"),
    ]


def test_headings_never_skip_a_level(page: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_that_wcag_asks_for(theme: int) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: text at least 4.5 to 1 on every background it stands on, lines and dots 3 to 1."""
    themes = [dict(re.findall(r"--([a-z0-9]+):(#[0-9a-f]{3,6})", block)) for block in STYLE.split(":root{")[1:3]]
    colours = themes[0] | themes[theme]
    for ground in ("paper", "panel", "banner"):
        for ink in ("ink", "muted", "accent", "good", "bad", "flat"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for number in range(8):
        assert contrast(colours[f"c{number}"], colours["panel"]) >= 3, number


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """The relative luminance of a colour, #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_time_of_an_unfinished_stage_comes_from_its_metrics(tmp_path: Path) -> None:
    stage = read_run(write_fake_run(tmp_path, finished="base")).stage("sft")
    assert stage.state == "not run"
    stage = read_run(write_fake_run(tmp_path / "second", finished="evaluate-base")).stage("sft")
    account = account_of(stage)
    assert account.phases["forward_backward"] == pytest.approx(2.0 * 20)
    assert account.unaccounted == pytest.approx(0.03 * 20)
    assert account.outside == 0


def test_docs_of_metrics_are_current() -> None:
    path = Path(__file__).parents[1] / "docs" / "metrics.md"
    assert path.read_text() == render_markdown(), "run: python -m training.metric_names > docs/metrics.md"


def test_every_metric_that_trl_writes_is_described() -> None:
    from importlib.util import find_spec

    trainers = Path(find_spec("trl").origin).parent / "trainer"
    names = set()
    for name in ("sft_trainer.py", "dpo_trainer.py", "grpo_trainer.py"):
        names |= set(re.findall(r'_metrics\[mode\]\["([^"]+)"\]', (trainers / name).read_text()))
    assert len(names) > 30
    assert [name for name in sorted(names) if describe(name) is None] == []


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 390])
def test_page_in_a_browser_draws_its_charts_silently_and_offline(tmp_path: Path, width: int) -> None:
    path = write_report(write_fake_run(tmp_path / "run"))
    with open_browser(tmp_path / "profile") as browser:
        browser.open(path, width)
        sizes = browser.evaluate(
            "[...document.querySelectorAll('svg.plot, svg.strip, svg.bar')].filter(e => e.checkVisibility())"
            ".map(e => [e.getBoundingClientRect().width, e.getBBox().width])"
        )
        lengths = browser.evaluate("[...document.querySelectorAll('polyline.bold')].map(e => e.getTotalLength())")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        columns = browser.evaluate("getComputedStyle(document.querySelector('.sides')).gridTemplateColumns")
        assert sum(column != "0px" for column in columns.split()) == (2 if width > 600 else 1), columns
        assert browser.evaluate("getComputedStyle(document.querySelector('g.c1')).color") == "rgb(36, 103, 168)"
    assert len(sizes) > 30
    assert all(box > 50 and drawn > 0 for box, drawn in sizes), sizes
    assert len(lengths) > 15
    assert min(lengths) > 200
    assert browser.messages == []
    assert browser.requests[0] == path.as_uri()
    assert [url for url in browser.requests[1:] if not url.startswith("data:")] == []
