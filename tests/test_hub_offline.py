"""Branches of the hub without a network: what the local cache knows, in a cache laid out by hand."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.hub import hub_rows
from tests.config_files import write
from tests.data_blocks import block
from training.base import locate_model
from training.bundled import materialise
from training.config import load_pipeline
from training.hub_cache import hub_cache
from training.pins import Pins
from training.plan import plan_run

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a whole model and a data set, both with main at OLD."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for repository in ("models--org--tiny", "datasets--org--rows"):
        folder = tmp_path / repository
        (folder / "snapshots" / OLD).mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(OLD)
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / OLD
    for file in materialise("tiny-random").iterdir():
        shutil.copy(file, snapshot / file.name)
    return tmp_path


def test_branch_offline_is_the_commit_that_the_cache_fetched(hub: Path) -> None:
    pins = Pins({}, offline=True)
    assert pins.model("org/tiny@main") == OLD
    assert pins.dataset("org/rows") == OLD
    assert pins.resolved == {"org/tiny@main": OLD, "datasets/org/rows": OLD}
    assert locate_model("org/tiny@main", pins) == (hub / "models--org--tiny" / "snapshots" / OLD).resolve()


def test_branch_offline_a_pin_goes_before_the_cache(hub: Path) -> None:
    assert Pins({"org/tiny@main": NEW}, offline=True).model("org/tiny@main") == NEW


def test_branch_under_hf_hub_offline_is_the_cached_commit(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's environment says offline, the pipeline does not."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Pins({}, offline=False).model("org/tiny@main") == OLD


@pytest.mark.parametrize(("reference", "known"), [("org/tiny@v2", f"; the cache has {OLD}"), ("org/absent@v2", "")])
def test_branch_offline_that_is_not_cached_names_the_fix(hub: Path, reference: str, known: str) -> None:
    name = reference.partition("@")[0]
    with pytest.raises(UserError) as caught:
        Pins({}, offline=True).model(reference)
    assert f"hf download {name} --revision v2" in str(caught.value)
    assert str(caught.value).endswith(f"{name}@<40 hex digits>{known}")


def test_rows_that_are_not_cached_are_fetched_with_their_subset(hub: Path, tmp_path: Path) -> None:
    rows = "stages.sft.data={hub: org/absent@main, subset: socratic}"
    pipeline = load_pipeline(write(tmp_path), [rows, "offline=true"])
    with pytest.raises(UserError) as caught:
        plan_run(pipeline, tmp_path / "run")
    assert "datasets.load_dataset('org/absent', 'socratic', revision='main')" in str(caught.value)


def test_branch_without_a_network_does_not_fall_back_in_silence(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, at an address where nothing listens."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=rf"could not be looked up \(.*or set `offline: true` to take.*{OLD}"):
        Pins({}, offline=False).model("org/tiny@main")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no weights"),
    ],
)
def test_model_that_was_fetched_in_part_is_refused(hub: Path, gone: str, message: str) -> None:
    (hub / "models--org--tiny" / "snapshots" / OLD / gone).unlink()
    with pytest.raises(UserError, match=f"org/tiny@{OLD}.*{message}.*hf download org/tiny --revision {OLD}"):
        locate_model(f"org/tiny@{OLD}", Pins({}, offline=True))


def test_model_without_one_of_its_shards_is_refused(hub: Path) -> None:
    folder = hub / "models--org--tiny" / "snapshots" / OLD
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"lacks 1 of 2 weight files, model-2\.safetensors"):
        locate_model(str(folder), Pins({}, offline=True))


def test_an_index_of_other_weights_beside_whole_safetensors_is_no_lack(hub: Path) -> None:
    folder = hub / "models--org--tiny" / "snapshots" / OLD
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model-1.bin"}}))
    assert locate_model(str(folder), Pins({}, offline=True)) == folder.resolve()


def test_a_torn_index_is_told_in_one_message(hub: Path) -> None:
    folder = hub / "models--org--tiny" / "snapshots" / OLD
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a"')
    with pytest.raises(UserError, match=r"index\.json is not JSON"):
        locate_model(str(folder), Pins({}, offline=True))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("HF_HUB_CACHE", "$PLACE/hub", "hub"),
        ("HUGGINGFACE_HUB_CACHE", "$PLACE/legacy", "legacy"),
        ("HF_HOME", "$PLACE/home", "home/hub"),
        ("XDG_CACHE_HOME", "$PLACE/cache", "cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    name: str, value: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv(name, value)
    assert hub_cache() == tmp_path / found


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` keeps of org/rows after it was loaded at OLD, and no network."""
    import datasets

    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    builder = datasets.load_dataset_builder(
        "json", data_files=str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path / "made")
    )
    builder.download_and_prepare()
    kept = tmp_path / "datasets" / "org___rows" / "default" / "0.0.0" / OLD
    kept.mkdir(parents=True)
    for file in Path(builder.cache_dir).iterdir():
        shutil.copy(file, kept / file.name.replace("json-", "rows-"))
    info = json.loads((kept / "dataset_info.json").read_text())
    (kept / "dataset_info.json").write_text(json.dumps({**info, "dataset_name": "rows", "config_name": "default"}))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("streamed", [{}, {"streaming": True, "limit": 1}])
def test_rows_offline_are_those_of_the_pinned_commit_or_none(prepared: None, streamed: dict[str, Any]) -> None:
    """Told to load NEW, `datasets` itself would give the rows of OLD with a warning."""
    rows = block(hub="org/rows@main", **streamed)
    assert list(hub_rows(rows, OLD)) == [(None, {"prompt": "a", "completion": "b"})]
    with pytest.raises(UserError, match=f"fetched here before is commit {OLD}, not {NEW}"):
        list(hub_rows(rows, NEW))
