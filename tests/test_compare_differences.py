"""What differs between runs: config, data, environment, and nothing between two copies."""

from pathlib import Path

from tests.changed_run import Row, change_pipeline, change_record, stage_of
from tests.fake_run import write_fake_run
from training.compare.comparison import compare_runs
from training.compare.settings import flatten


def test_two_copies_of_a_run_differ_in_nothing(before: Path, after: Path) -> None:
    compared = compare_runs([before, after])
    assert compared.labels == ["before", "after"]
    assert (compared.config, compared.environment) == ([], [])
    assert compared.data == {name: [] for name in ("sft", "pairs", "dpo", "grpo")}
    assert all(one.same_experiment for one in compared.stages)
    assert {one.name for one in compared.stages if one.same_weights} == {"sft", "dpo", "grpo"}
    assert {(one.gained, one.lost, one.alone) for one in compared.accuracy} == {(0, 0, 0)}
    assert {one.step.verdict for one in compared.seconds} == {"no measurable change"}


def test_config_differences_name_the_key_and_both_values(before: Path, after: Path) -> None:
    def change(pipeline: Row) -> None:
        stage_of(pipeline, "dpo")["trainer"]["learning_rate"] = 2e-4
        pipeline["runtime"]["processes"] = 4
        pipeline["runtime"]["walltime"] = None  # a key of a later version, not set
        pipeline["written_at"] = "2026-11-23"

    change_pipeline(after, change)
    found = {one.key: one.values for one in compare_runs([before, after]).config}
    assert found == {
        "stages.dpo.trainer.learning_rate": {"before": 1e-4, "after": 2e-4},
        "runtime.processes": {"before": 2, "after": 4},
    }


def test_a_stage_of_one_run_alone_is_one_difference(before: Path, after: Path) -> None:
    change_pipeline(after, lambda pipeline: pipeline["stages"].remove(stage_of(pipeline, "dpo")))
    compared = compare_runs([before, after])
    assert [(one.key, one.values) for one in compared.config] == [("stages.dpo", {"before": "present"})]
    (dpo,) = [one for one in compared.stages if one.name == "dpo"]
    assert (dpo.states, dpo.same_experiment) == ({"before": "done", "after": "absent"}, None)


def test_a_block_of_an_older_version_s_run_is_one_difference(before: Path, after: Path) -> None:
    large = {"one": 1, "two": {"three": 3, "four": 4}, "five": 5, "six": 6}

    def change(pipeline: Row) -> None:
        stage_of(pipeline, "dpo")["health"] = large
        stage_of(pipeline, "grpo")["parity"] = {"every": 10, "rows": 8}

    change_pipeline(after, change)
    assert [(one.key, one.values) for one in compare_runs([before, after]).config] == [
        ("stages.dpo.health", {"after": "present"}),
        ("stages.grpo.parity.every", {"after": 10}),
        ("stages.grpo.parity.rows", {"after": 8}),
    ]


def test_what_those_that_have_a_block_disagree_on_is_shown_beside_it(before: Path, after: Path, tmp_path: Path) -> None:
    third = write_fake_run(tmp_path / "third")
    for path, rank in ((before, 8), (after, 16)):
        block = {"r": rank, "alpha": 16, "dropout": 0.1, "targets": "all-linear", "save": "merged"}
        change_pipeline(path, lambda pipeline, block=block: stage_of(pipeline, "dpo").update(lora=block))
    assert [(one.key, one.values) for one in compare_runs([before, after, third]).config] == [
        ("stages.dpo.lora", {"before": "present", "after": "present"}),
        ("stages.dpo.lora.r", {"before": 8, "after": 16}),
    ]


def test_flatten_meets_named_entries_by_name_and_keeps_other_lists_whole() -> None:
    block = {"stages": [{"name": "sft", "data": {"mix": [{"path": "a"}, {"path": "b"}]}, "gate": None}]}
    assert dict(flatten(block)) == {"stages.sft.data.mix": [{"path": "a"}, {"path": "b"}]}


def test_data_differences_tell_rows_hash_and_what_was_dropped(before: Path, after: Path) -> None:
    def change(record: Row) -> None:
        record["data"] |= {"rows_kept": 900, "rows_sha256": "ef" * 32}
        record["data"]["dropped"] = {"prompt_too_long": 12, "duplicate": 88}

    change_record(after, "sft", change)
    found = compare_runs([before, after]).data
    assert {one.key: one.values for one in found["sft"]} == {
        "rows_kept": {"before": 988, "after": 900},
        "dropped.duplicate": {"after": 88},
        "rows_sha256": {"before": "cd" * 32, "after": "ef" * 32},
    }
    assert found["grpo"] == []


def test_environment_differences_do_not_tell_of_the_base(before: Path, after: Path) -> None:
    def change(record: Row) -> None:
        record["environment"]["packages"] = {**record["environment"]["packages"], "trl": "1.17.0"}

    change_record(after, "base", change)
    assert compare_runs([before, after]).environment == []
    change_record(after, "dpo", change)
    (found,) = compare_runs([before, after]).environment
    assert (found.key, found.values) == ("packages.trl", {"before": "1.16.0", "after": "1.16.0, 1.17.0"})
