"""The model card: what the records say, readable by huggingface_hub, and no part of what is proved."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from data.errors import UserError
from launch.cli import main
from launch.lineage import prove
from tests.fake_run import write_fake_run
from training.config import load_pipeline
from training.model_card import write_cards
from training.model_card.body import licence_in_words, source_in_words, table
from training.model_card.licences import hub_licence_id
from training.model_card.places import command_of
from training.model_files import is_card, model_files
from training.plan import plan_run
from training.report.collect import read_run
from training.summary import summarise


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "quickstart")


def model_of(run: Path, stage: str) -> Path:
    """The model folder of a stage."""
    folder = read_run(run).stage(stage).folder
    assert folder is not None
    return folder / "model"


def test_cards_are_written_beside_the_weights_of_every_model_and_load(run: Path) -> None:
    cards = write_cards(run)
    assert [(card.stage, card.reason) for card in cards] == [("sft", None), ("dpo", None), ("grpo", None)]
    card = ModelCard.load(model_of(run, "grpo") / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.tags == ["posttrain", "trl", "sft", "dpo", "grpo"]


def test_card_has_the_measured_numbers_with_intervals_and_n(run: Path) -> None:
    write_cards(run)
    card = ModelCard.load(model_of(run, "grpo") / "README.md")
    scores = summarise(run).rows[-1].scores
    found = {result.dataset_name: (result.metric_value, result.metric_args) for result in card.data.eval_results}
    for suite, score in scores.items():
        bounds = [round(bound, 4) for bound in score.ci95]
        assert found[suite] == (round(score.accuracy, 4), {"n": score.n, "ci95": bounds})
        assert f"| grpo | {suite} | {100 * score.accuracy:.1f} % |" in card.text
    assert "grpo against base" in card.text
    assert "## Intended use" in card.text


def test_card_names_data_recipe_and_lineage_of_all_stages_above(run: Path) -> None:
    write_cards(run)
    text = (model_of(run, "dpo") / "README.md").read_text()
    view = read_run(run)
    for name in ("base", "sft", "pairs", "dpo"):
        assert str(view.stage(name).fingerprint) in text
    assert str(view.stage("grpo").fingerprint) not in text
    assert "cd" * 32 in text
    assert '"learning_rate": 0.0001' in text
    assert view.stage("dpo").record["files"]["model/model.safetensors"] in text


def test_card_tells_no_folder_of_the_machine(run: Path) -> None:
    path = run / "pipeline.resolved.json"
    resolved = json.loads(path.read_text())
    resolved["model"] = "/home/anna/models/my-base"
    resolved["command"] = "posttrain run /home/anna/exp/own.yaml --run-dir '/scratch/anna b/run' --set a=/home/anna/x"
    path.write_text(json.dumps(resolved))
    for record_path in run.glob("*/record.json"):
        record = json.loads(record_path.read_text())
        if record["kind"] == "base":
            record["identity"]["model"] = {"files": {"config.json": "ab" * 32}}
        record["config"]["rewards"] = [{"call": "/home/anna/rewards.py:score"}, {"pattern": "</answer>"}]
        record_path.write_text(json.dumps(record))
    write_cards(run)
    text = (model_of(run, "dpo") / "README.md").read_text()
    assert "anna" not in text
    assert text.count("`my-base`") == 2
    assert "posttrain run own.yaml --run-dir run --set a=x" in text
    assert '"call": "rewards.py:score"' in text
    assert "</answer>" in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("posttrain run configs/tiny.yaml --set seed=3", "posttrain run configs/tiny.yaml --set seed=3"),
        ("posttrain run ~/x/y.yaml", "posttrain run y.yaml"),
        ("posttrain run ~anna/y.yaml --set 'data.mix=[/a/b.jsonl, ../c/d.jsonl]'", "'data.mix=[b.jsonl, d.jsonl]'"),
        ("posttrain run x.yaml --set model=org/model@abc", "--set model=org/model@abc"),
        ("posttrain run 'not closed /home/anna/x", "posttrain run"),
        ("posttrain run x.yaml --set data.url=https://host/a/b", "data.url=https://host/a/b"),
        ("posttrain run x.yaml --run-dir=file:///home/anna/run", "--run-dir=run"),
    ],
)
def test_commands_have_names_in_place_of_paths(given: str, told: str) -> None:
    assert told in command_of(given)
    assert "anna" not in command_of(given)


def test_card_leaves_the_proof_of_the_model_as_it_was(run: Path) -> None:
    weights = model_of(run, "sft")
    before = prove(weights)
    write_cards(run)
    assert (weights / "README.md").is_file()
    assert prove(weights).problems == before.problems == []
    assert [path.name for path in model_files(weights)] == ["model.safetensors"]


def test_card_in_a_folder_that_a_pipeline_starts_from_changes_no_fingerprint(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    pipeline = load_pipeline(Path("configs/tiny.yaml"), [f"model={model}"])
    plain = plan_run(pipeline, tmp_path / "run")["base"].fingerprint
    (model / "README.md").write_text("---\n# Written by posttrain from the records of the run, 0\n---\nours")
    assert plan_run(pipeline, tmp_path / "run")["base"].fingerprint == plain
    (model / "README.md").write_text("somebody's own notes")
    assert plan_run(pipeline, tmp_path / "run")["base"].fingerprint != plain


def test_card_that_was_edited_stays_unless_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cards(run)
    path = model_of(run, "sft") / "README.md"
    edited = path.read_text().replace("*To be filled in by the people who publish this model.*", "For arithmetic.", 1)
    path.write_text(edited)
    assert is_card(path)
    assert main(["card", str(run), "--stage", "sft"]) == 2
    assert "edited" in capsys.readouterr().out
    assert path.read_text() == edited
    assert main(["card", str(run), "--overwrite"]) == 0
    assert "For arithmetic." not in path.read_text()


def test_card_of_ours_is_written_anew_when_the_model_is_measured(run: Path) -> None:
    folder = read_run(run).stage("evaluate-grpo").folder
    record = (folder / "record.json").read_text()
    (folder / "record.json").unlink()
    write_cards(run)
    path = model_of(run, "grpo") / "README.md"
    assert "This model has not been measured." in path.read_text()
    (folder / "record.json").write_text(record)
    write_cards(run)
    assert "| grpo | in_domain |" in path.read_text()


@pytest.mark.parametrize("recorded", [True, False])
def test_readme_of_somebody_else_stays(run: Path, recorded: bool) -> None:
    path = model_of(run, "sft") / "README.md"
    path.write_text("peft wrote this")
    if recorded:
        record = json.loads((path.parents[1] / "record.json").read_text())
        record["files"]["model/README.md"] = "ab" * 32
        (path.parents[1] / "record.json").write_text(json.dumps(record))
    (card,) = write_cards(run, "sft", overwrite=recorded)
    assert card.reason is not None
    assert path.read_text() == "peft wrote this"


def test_card_of_a_stage_that_left_no_model_is_a_user_error(run: Path) -> None:
    with pytest.raises(UserError, match="those that are: sft, dpo, grpo"):
        write_cards(run, "pairs")


@pytest.mark.parametrize(
    ("source", "words", "licence"),
    [
        ({"hub": "org/set", "commit": "abc"}, "hub `org/set` at `abc`", "not known"),
        ({"path": "/home/ann/rows.jsonl", "license": {"name": "MIT", "from": "LICENSE"}}, "file `rows.jsonl`", "MIT"),
        ({"stage": "pairs"}, "rows that stage `pairs` left", "made by an earlier stage"),
        ({"generator": "reasoning_gym", "families": {"gcd": {}}, "seed": 3}, "`reasoning_gym`: gcd", "by a program"),
    ],
)
def test_sources_in_words_name_no_folder_and_the_licence(source: dict[str, object], words: str, licence: str) -> None:
    assert source_in_words(source).startswith(words)
    assert licence in licence_in_words(source)


@pytest.mark.parametrize(
    ("name", "identifier"), [("Apache-2.0", "apache-2.0"), ("none (random weights)", None), (None, None)]
)
def test_only_licences_that_the_hub_knows_enter_the_yaml_block(name: str | None, identifier: str | None) -> None:
    assert hub_licence_id(name) == identifier


def test_table_cells_cannot_end_their_cell() -> None:
    assert table(["a"], [["x | y\nz"]]).split("\n")[-1] == "| x \\| y z |"
