"""Where rows come from besides one file: folders, artifacts, functions, a streamed hub; and their licences."""

import sys
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.hub import hub_licence, hub_rows
from data.licences import licence_name
from data.sources import data_identity, load_rows
from tests.config_files import PIPELINE, changed, write
from tests.data_blocks import block
from training.config import load_pipeline
from training.config.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIT = "MIT License\n\nCopyright (c) somebody\n"


def identity(**fields: Any) -> dict[str, Any]:
    return data_identity(block(**fields), 1, lambda reference: COMMIT)


def folder_of(path: Path, **files: str) -> Path:
    for name, text in files.items():
        file = path / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def test_folder_is_read_by_name_without_its_documents(tmp_path: Path) -> None:
    files = {"b_jsonl": '{"n": 3}\n', "a__z_jsonl": '{"n": 1}\n{"n": 2}\n', "README_md": "rows", "_hidden_jsonl": "no"}
    loaded = load_rows(block(path=str(folder_of(tmp_path / "rows", **files))), 1)
    assert [row["n"] for row in loaded.rows] == [1, 2, 3]
    assert loaded.account.origin.where(2).endswith("b.jsonl:1")
    other = folder_of(tmp_path / "other", **{**files, "README_md": "changed"})
    assert identity(path=str(tmp_path / "rows")) == identity(path=str(other))
    folder_of(other, b_jsonl='{"n": 4}\n')
    assert identity(path=str(tmp_path / "rows")) != identity(path=str(other))


def test_folder_with_a_file_that_is_not_read_or_without_data_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "rows", a_jsonl='{"n": 1}\n', b_jsonl_bz2="x")
    with pytest.raises(UserError, match=r"b\.jsonl\.bz2: suffix '\.bz2' is not read"):
        load_rows(block(path=str(tmp_path / "rows")), 1)
    folder_of(tmp_path / "empty", LICENSE=MIT)
    with pytest.raises(UserError, match="holds no data files"):
        load_rows(block(path=str(tmp_path / "empty")), 1)


def test_artifact_of_a_sample_stage_gives_what_it_kept(tmp_path: Path) -> None:
    folder_of(tmp_path, record_json="{}", data_jsonl='{"prompt": "x"}\n', draws_jsonl='{"draw": 1}\n')
    assert load_rows(block(path=str(tmp_path)), 1).rows == [{"prompt": "x"}]
    (tmp_path / "data.jsonl").unlink()
    with pytest.raises(UserError, match=r"an artifact without data\.jsonl"):
        load_rows(block(path=str(tmp_path)), 1)


SOURCE = """
raise_at_import = {flag}
assert not raise_at_import, "imported"

def make(count=2):
    for number in range(count):
        yield {{"prompt": f"{{number}}?", "completion": "b"}}

def nothing():
    return None

def odd():
    return [{{"prompt": "a"}}, "text"]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "rows.py").write_text(SOURCE.format(flag=False))
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "own_package" / "rows.py"


def test_callable_gives_its_rows_for_its_arguments(package: Path) -> None:
    loaded = load_rows(block(callable="own_package.rows:make", version=1, arguments={"count": 3}), 1)
    assert [row["prompt"] for row in loaded.rows] == ["0?", "1?", "2?"]
    assert loaded.source["callable"] == "own_package.rows:make"
    with pytest.raises(UserError, match="returned a NoneType; it must return or yield rows"):
        load_rows(block(callable="own_package.rows:nothing", version=1), 1)
    with pytest.raises(UserError, match=r"own_package\.rows:odd row 1: a str; every row must be a mapping"):
        load_rows(block(callable="own_package.rows:odd", version=1), 1)


def test_callable_is_identified_by_source_version_and_arguments_without_an_import(package: Path) -> None:
    package.write_text(SOURCE.format(flag=True))
    fields: dict[str, Any] = {"callable": "own_package.rows:make", "version": 1}
    found = identity(**fields)
    assert found == identity(**{**fields, "callable": "own_package.rows:odd"}), "the name is a place"
    assert found != identity(**{**fields, "version": 2})
    assert found != identity(**fields, arguments={"count": 3})
    package.write_text(package.read_text() + "# changed\n")
    assert found != identity(**fields)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("own_package.rows", r'must be "package\.module:function"'),
        ("absent.rows:make", "no module absent"),
        ("own_package.absent:make", r"no module own_package\.absent"),
        ("own_package.rows:absent", "defines no function absent at its top level; it has make, nothing, odd"),
        ("math:sqrt", "math is no Python file|no module math"),
    ],
)
def test_callable_that_is_not_there_is_refused(package: Path, reference: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        identity(callable=reference, version=1)


def test_hub_streaming_fetches_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    fetched = []

    def stream() -> Any:
        for number in range(1000):
            fetched.append(number)
            yield {"n": number}

    def load_dataset(name: str, subset: None, *, split: str, revision: str, streaming: bool) -> Any:
        assert (name, revision, streaming) == ("org/name", COMMIT, True)
        return stream()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows = list(hub_rows(block(hub="org/name@v1", streaming=True, limit=3), COMMIT))
    assert rows == [(None, {"n": 0}), (None, {"n": 1}), (None, {"n": 2})]
    assert fetched == [0, 1, 2]


def test_hub_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real libraries, told to be offline, with an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"data\.hub=org/absent@main, split 'train'.*could not be loaded.*offline"):
        load_rows(block(hub="org/absent@main"), 1, pin=lambda reference: COMMIT)
    assert hub_licence("org/absent", COMMIT) is None


def test_hub_licence_is_the_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *arguments, **options: str(card))
    card.write_text("---\nlicense: cc-by-4.0\n---\n# Rows\n")
    assert hub_licence("org/name", COMMIT) == {"name": "cc-by-4.0", "from": "the hub's card"}
    card.write_text("---\nlicense: [mit, apache-2.0]\n---\n")
    assert hub_licence("org/name", COMMIT) == {"name": "mit, apache-2.0", "from": "the hub's card"}
    card.write_text("# Rows\n")
    assert hub_licence("org/name", COMMIT) is None


def test_licence_beside_the_rows_or_in_the_config_is_in_the_source(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "rows", a_jsonl='{"n": 1}\n') / "a.jsonl"
    assert "license" not in load_rows(block(path=str(path)), 1).source
    folder_of(tmp_path / "rows", LICENSE_txt=MIT)
    found = {"name": "MIT", "from": "LICENSE.txt"}
    assert load_rows(block(path=str(path)), 1).source["license"] == found
    assert load_rows(block(path=str(tmp_path / "rows")), 1).source["license"] == found
    own = load_rows(block(path=str(path), license="CC0-1.0"), 1)
    assert own.source["license"] == {"name": "CC0-1.0", "from": "the config"}
    assert identity(path=str(path), license="CC0-1.0") == identity(path=str(path))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n      Apache License\n    Version 2.0, January 2004\n", "Apache-2.0"),
        ("# Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("# Our own terms\nbe kind", "Our own terms"),
        ("", "an empty file"),
    ],
)
def test_licence_name_of_a_text(text: str, name: str) -> None:
    assert licence_name(text) == name


DPO_DATA = "data: stage:pairs"
MISTAKES = {
    "streaming without limit": ("{hub: org/name@v1, streaming: true}", "streaming fetches the first `limit` rows"),
    "streaming of a file": ("{path: rows.jsonl, streaming: true, limit: 5}", "streaming fetches"),
    "version of a file": ("{path: rows.jsonl, version: 1}", "version and arguments belong to a callable"),
    "callable without version": ('{callable: "m:f"}', "a callable needs a version"),
    "callable not found": ('{callable: "absent_module:f", version: 1}', "there is no module absent_module"),
    "unknown format": ("{path: rows.jsonl, format: preferences}", "no row format (did you mean preference?)"),
    "format of another kind": ("{path: rows.jsonl, format: alpaca}", "gives no rows for a stage of kind dpo; use one"),
    "share above 1": ("{path: rows.jsonl, max_bad_rows: 2}", "max_bad_rows"),
    "two sources": ('{path: rows.jsonl, callable: "m:f", version: 1}', "found path and callable"),
    "no such folder": ("{path: absent/}", "there is no such file or folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_a_data_block_is_told_with_its_line(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    data, message = MISTAKES[mistake]
    line = 1 + PIPELINE[: PIPELINE.index(DPO_DATA)].count("\n")
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(tmp_path, changed(DPO_DATA, f"data: {data}")))
    assert message in str(caught.value)
    assert f"yaml:{line}: stages.dpo.data" in str(caught.value)


def test_data_block_with_a_folder_a_format_and_a_share_is_accepted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "rows", a_jsonl="{}\n")
    data = f"{{path: {folder}, format: orca-dpo, max_bad_rows: 0.01, license: MIT}}"
    (dpo,) = (
        stage
        for stage in load_pipeline(write(tmp_path, changed(DPO_DATA, f"data: {data}"))).stages
        if stage.kind == "dpo"
    )
    assert dpo.data.source_in_words == str(folder)
