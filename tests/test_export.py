"""Stage kind `export`, and what is done with its folder: chat, serve and publish."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from launch import publish, serve
from launch.cli import main
from launch.model_path import find_model
from launch.verbs.chat import converse
from tests import gguf_models, stage_runs
from training.chat import Settings, open_chat
from training.models import load_policy
from training.record import read_record, verify_record

GREEDY = Settings(max_tokens=8, temperature=0.0, top_p=1.0, seed=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of an adapter that one SFT step trained."""
    folder = tmp_path_factory.mktemp("export")
    base = gguf_models.save(folder / "base")
    lora = {"r": 4, "save": "adapter"}
    sft = stage_runs.stage("sft", rows=8, folder=folder, lora=lora, trainer={"max_steps": 1, "learning_rate": 0.05})
    out = {"name": "out", "kind": "export", "gguf": ["q8_0"], "system": "Be brief."}
    config = stage_runs.write_pipeline(folder, sft, out, model=str(base))
    assert [stage_runs.run_stage(config, name) for name in ("base", "sft", "out")] == [0, 0, 0]
    return stage_runs.planned(config, "out").folder


def test_an_export_holds_the_merged_weights_and_a_file_that_was_read_back(exported: Path) -> None:
    import torch
    from safetensors.torch import load_file

    adapter = next(exported.parent.glob("01-sft-*")) / "model"
    assert (adapter / "adapter_config.json").is_file()
    assert not (exported / "model" / "adapter_config.json").exists()
    written, merged = load_file(exported / "model" / "model.safetensors"), load_policy(adapter).state_dict()
    assert {value.dtype for value in written.values()} == {torch.bfloat16}
    for name, value in written.items():
        assert torch.equal(value, merged[name].to(torch.bfloat16)), name
    base = load_policy(exported.parent.parent.parent / "base").state_dict()
    assert any(not torch.equal(base[name], merged[name]) for name in base)
    record = read_record(exported) or {}
    assert record["metrics"]["q8_0"]["mean_kl"] < record["metrics"]["q8_0"]["tolerance"]
    assert {"gguf/demo-sft-q8_0.gguf", "model/model.safetensors", "model/config.json"} <= record["files"].keys()
    assert verify_record(exported) == []


def test_an_architecture_that_gguf_cannot_hold_is_refused_before_the_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = gguf_models.save(
        tmp_path / "base", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    )
    export = {"name": "out", "kind": "export", "gguf": ["f16"]}
    assert_refused(
        tmp_path,
        [export],
        str(base),
        "stages.out.gguf: rope scaling of type linear cannot be written",
        capsys,
    )


def test_what_surgery_makes_of_the_base_decides_whether_gguf_can_hold_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The base could be written; experts made of it cannot, and an export of the base beside them can."""
    upcycle = {"name": "experts", "kind": "upcycle", "experts": 4, "experts_per_token": 2}
    of_base = {"name": "plain", "kind": "export", "gguf": ["f16"], "from": "base"}
    of_experts = {"name": "out", "kind": "export", "gguf": ["f16"]}
    config = stage_runs.write_pipeline(tmp_path, upcycle, of_base, model="bundled:tiny-random")
    with stage_runs.signal_handlers_kept():
        assert stage_runs.main([str(config), "--check"]) == 0
    expected = "stages.out.gguf: the architecture glm4_moe cannot be written"
    assert_refused(tmp_path, [upcycle, of_base, of_experts], "bundled:tiny-random", expected, capsys)


def assert_refused(
    folder: Path, stages: list[dict[str, Any]], model: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check before the first stage ends with exit code 2 and says `expected`."""
    config = stage_runs.write_pipeline(folder, *stages, model=model)
    with stage_runs.signal_handlers_kept():
        assert stage_runs.main([str(config), "--check"]) == 2
    assert expected in capsys.readouterr().err


# chat


def test_a_stage_folder_its_model_and_its_gguf_file_are_all_models(exported: Path) -> None:
    assert find_model(exported).folder == find_model(exported / "model").folder == exported / "model"
    assert find_model(exported).system == "Be brief."
    assert find_model(exported / "gguf").gguf_file == find_model(next((exported / "gguf").iterdir())).gguf_file
    with pytest.raises(UserError, match="holds no model"):
        find_model(exported.parent)
    with pytest.raises(UserError, match="does not exist"):
        find_model(exported / "absent")


def test_chat_streams_what_it_returns_and_remembers_the_turns(exported: Path) -> None:
    chat = open_chat(exported / "model", None, None, GREEDY)
    pieces: list[str] = []
    answer = chat.say("the number", pieces.append)
    assert "".join(pieces) == answer != ""
    again = chat.say("the number", pieces.append)
    assert [turn["role"] for turn in chat.turns] == ["user", "assistant"] * 2
    chat.reset()
    assert chat.say("the number", pieces.append) == answer
    assert again == chat.say("the number", pieces.append)


def test_chat_ends_at_each_end_of_turn_of_the_generation_config(exported: Path) -> None:
    """The first token of the answer becomes an end of turn beside <|im_end|>: the answer is that token and no more."""
    chat = open_chat(exported / "model", None, None, GREEDY)
    long = chat.say("the number", lambda piece: None)
    first = chat.tokenizer(long, add_special_tokens=False).input_ids[0]
    chat.model.generation_config.eos_token_id = [2, first]
    chat.reset()
    assert chat.say("the number", lambda piece: None) == chat.tokenizer.decode([first])


def test_chat_refuses_a_conversation_longer_than_the_model_and_keeps_the_turns(exported: Path) -> None:
    chat = open_chat(exported / "model", None, None, GREEDY)
    with pytest.raises(UserError, match="the model reads 256"):
        chat.say("x" * 400, lambda piece: None)
    assert chat.turns == []


def test_the_gguf_file_answers_a_message_from_a_pipe(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the number\n"))
    file = next((exported / "gguf").iterdir())
    assert main(["chat", str(file), "--max-tokens", "4", "--temperature", "0"]) == 0
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["chat", str(file)]) == 2
    assert "standard input is empty" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert main(["chat", str(file)]) == 2
    assert "standard input is not UTF-8 text (byte 0)" in capsys.readouterr().err


def test_chat_goes_on_after_a_message_that_is_too_long(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["x" * 400, "/reset", "the number"])

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    chat = open_chat(exported / "model", None, None, GREEDY)
    assert converse(chat) == 0
    assert "the model reads 256; begin anew, with /reset" in capsys.readouterr().out
    assert [turn["content"] for turn in chat.turns if turn["role"] == "user"] == ["the number"]


def test_files_that_are_no_model_are_refused_by_name(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("no weights")
    assert main(["chat", str(text)]) == 2
    assert f"{text} is no GGUF file" in capsys.readouterr().err
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(next((exported / "gguf").iterdir()).read_bytes()[:2000])
    with pytest.raises(UserError, match=r"cut\.gguf cannot be loaded"):
        open_chat(tmp_path, cut.name, None, GREEDY)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"an adapter without base_model\.json"):
        load_policy(tmp_path)
    (tmp_path / "base_model.json").write_text('{"base": "gone"}')
    with pytest.raises(UserError, match="gone is not there"):
        load_policy(tmp_path)


# serve


def test_serve_without_a_server_says_what_to_install(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "vllm_program", lambda: None)
    monkeypatch.setattr(serve, "transformers_program", lambda: None)
    assert main(["serve", str(exported)]) == 2
    assert "pip install vllm or pip install 'transformers[serving]'" in capsys.readouterr().err


def test_serve_prefers_vllm_and_names_the_file_as_each_server_wants_it(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "vllm_program", lambda: ["/bin/vllm"])
    monkeypatch.setattr(serve, "transformers_program", lambda: ["python", "-c", "main()"])
    assert main(["serve", str(exported), "--dry-run", "--port", "9"]) == 0
    folder = (exported / "model").resolve()
    assert capsys.readouterr().out.split() == ["/bin/vllm", "serve", str(folder), "--host", "127.0.0.1", "--port", "9"]
    place = find_model(exported / "gguf")
    command = serve.server_command(place, "transformers", "127.0.0.1", 8000)
    assert command[3:5] == ["serve", f"{place.folder.resolve()}:demo-sft-q8_0.gguf"]
    with pytest.raises(UserError, match="holds an adapter; serve the folder of an export stage"):
        serve.server_command(find_model(next(exported.parent.glob("01-sft-*"))), "auto", "127.0.0.1", 8000)


# publish


@pytest.fixture
def carded(exported: Path) -> Any:
    card = exported / "model" / "README.md"
    card.write_text("---\nlicense: mit\n---\n# demo\n")
    yield exported
    card.unlink()


def test_publish_shows_what_it_would_upload_and_uploads_nothing(
    carded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(publish, "upload", lambda *_, **__: pytest.fail("nothing may be uploaded without --yes"))
    assert main(["publish", str(carded), "--repo", "me/demo"]) == 0
    shown = capsys.readouterr().out
    for name in ("model.safetensors", "config.json", "gguf/demo-sft-q8_0.gguf", "README.md", "record.json"):
        assert f"  {name}  " in shown
    assert "repeat with --yes" in shown
    assert "hf_secret" not in shown


def test_publish_uploads_each_file_once_in_one_commit(carded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    done: dict[str, Any] = {}

    class Hub:
        def create_repo(self, repo: str, **options: Any) -> None:
            done["repo"] = (repo, options)

        def create_commit(self, repo: str, operations: list[Any], commit_message: str) -> Any:
            done["places"] = [operation.path_in_repo for operation in operations]
            return type("Done", (), {"commit_url": f"hub/{repo}"})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    planned = publish.publication(carded, "me/demo")
    assert publish.upload(planned, private=True) == "hub/me/demo"
    assert done["repo"] == ("me/demo", {"private": True, "exist_ok": True})
    assert done["places"] == list(planned.files)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        publish.upload(planned, private=True)


def test_publish_refuses_what_no_record_proves_and_what_has_no_card(
    exported: Path, carded: Path, tmp_path: Path
) -> None:
    import shutil

    with pytest.raises(UserError, match="no hub repository"):
        publish.publication(carded, "demo")
    with pytest.raises(UserError, match="give the folder of a finished stage"):
        publish.publication(tmp_path, "me/demo")
    changed = Path(shutil.copytree(carded, tmp_path / "changed"))
    (changed / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"not what its record says: model/config\.json has sha256"):
        publish.publication(changed, "me/demo")
    bare = Path(shutil.copytree(exported, tmp_path / "bare"))
    (bare / "model" / "README.md").unlink()
    with pytest.raises(UserError, match="write it with posttrain card"):
        publish.publication(bare, "me/demo")
