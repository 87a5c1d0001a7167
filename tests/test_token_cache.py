"""Tokens before and after the cache: TRL's own, kept under all that decides them and nothing else."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trl
from datasets import Dataset

import training.token_cache
from tests.test_trainers_parity import arguments, chat
from training.dpo import DpoTrainer
from training.models import load_policy, load_tokenizer
from training.sft import SftTrainer
from training.token_cache import token_key, tokenised_rows
from training.tokens import tokenise
from training.world import World

ROWS = {
    "sft": [{"prompt": chat("user", "Count " * n), "completion": chat("assistant", "x" * n)} for n in range(1, 9)],
    "dpo": [
        {"prompt": chat("user", "Count " * n)}
        | {"chosen": chat("assistant", f"yes {n}"), "rejected": chat("assistant", "no")}
        for n in range(1, 9)
    ],
}
CONFIGS = {"sft": trl.SFTConfig, "dpo": trl.DPOConfig}
OURS = {"sft": SftTrainer, "dpo": DpoTrainer}
TRL_S = {"sft": trl.SFTTrainer, "dpo": trl.DPOTrainer}
COLUMNS = {"sft": ("input_ids", "labels"), "dpo": ("prompt_ids", "chosen_ids", "rejected_ids")}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training.token_cache, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "tokens"


def context(kind: str, folder: Path, model: Path) -> Any:
    return SimpleNamespace(planned=SimpleNamespace(kind=kind), folder=folder, parent_model=model, world=World(0, 0, 1))


@pytest.mark.parametrize(("kind", "limit"), [("sft", 46), ("sft", None), ("dpo", 46), ("dpo", None)])
def test_trainer_on_tokenised_rows_has_the_dataset_of_trl_s_own(
    kind: str, limit: int | None, tiny_model: Path, tmp_path: Path
) -> None:
    """The limit truncates some rows and drops others: what is left is the same, in the same order."""
    tokenizer = load_tokenizer(tiny_model)
    plain = Dataset.from_list(ROWS[kind])
    made = []
    tokens = tokenise(kind, plain, tokenizer, arguments(CONFIGS[kind], tmp_path))
    for trainer, rows in ((OURS[kind], tokens), (TRL_S[kind], plain)):
        args = arguments(CONFIGS[kind], tmp_path)
        args.max_length = limit
        policy = load_policy(tiny_model)
        made.append(trainer(model=policy, args=args, train_dataset=rows, processing_class=tokenizer))
    for column in COLUMNS[kind]:
        assert made[0].train_dataset[column][:] == made[1].train_dataset[column][:]
    assert (len(made[0].train_dataset) < len(plain)) == (limit is not None)


def test_key_covers_what_decides_tokens_and_nothing_else(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(tiny_model, folder)
    args = arguments(trl.SFTConfig, tmp_path)

    def key(rows: list[dict[str, Any]] = ROWS["sft"], template: str | None = None, **fields: Any) -> str:
        tokenizer = load_tokenizer(folder)
        tokenizer.chat_template = template or tokenizer.chat_template
        for name, value in fields.items():
            setattr(args, name, value)
        return token_key("sft", rows, tokenizer, folder, args)

    first = key()
    assert key(max_length=7, learning_rate=0.5, packing=True, output_dir="elsewhere") == first
    assert key([{**row, "answer": 1} for row in ROWS["sft"]]) == first, "a column that no token comes from"
    assert key(ROWS["sft"][::-1]) != first
    assert key(template=load_tokenizer(folder).chat_template + " ") != first
    assert key(assistant_only_loss=True) != first
    args.assistant_only_loss = False
    (folder / "unrelated.json").write_text("{}")
    assert key() == first
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "not in use"}))
    assert token_key("sft", ROWS["sft"], load_tokenizer(tiny_model), folder, args) == first
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 11}))
    assert key() != first


def test_key_of_a_template_that_writes_the_date_changes_by_the_day(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    args = arguments(trl.SFTConfig, tmp_path)
    keys = {}
    for dated in (False, True):
        if dated:
            tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + tokenizer.chat_template
        for day in ("2026-01-01", "2026-01-02"):
            today = SimpleNamespace(today=lambda day=day: SimpleNamespace(isoformat=lambda: day))
            monkeypatch.setattr(training.token_cache, "date", today)
            keys[dated, day] = token_key("sft", ROWS["sft"], tokenizer, tiny_model, args)
    assert keys[False, "2026-01-01"] == keys[False, "2026-01-02"]
    assert keys[True, "2026-01-01"] != keys[True, "2026-01-02"]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_second_stage_with_the_same_rows_tokenises_nothing_and_another_template_does(
    kind: str, tiny_model: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changed template can never meet the older tokens: its own are made and they differ."""
    tokenizer = load_tokenizer(tiny_model)
    args = arguments(CONFIGS[kind], tmp_path)
    first = tokenised_rows(ROWS[kind], context(kind, tmp_path / "one", tiny_model), tokenizer, args)
    calls = []

    def counted(*given: Any) -> Any:
        calls.append(given[0])
        return tokenise(*given)

    monkeypatch.setattr(training.token_cache, "tokenise", counted)
    again = tokenised_rows(ROWS[kind], context(kind, tmp_path / "two", tiny_model), tokenizer, args)
    assert calls == []
    column = COLUMNS[kind][0]
    assert again[column][:] == first[column][:]
    assert len(list(own_cache.iterdir())) == 1
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_start|>", "<|im_start|>the ", 1)
    changed = tokenised_rows(ROWS[kind], context(kind, tmp_path / "two", tiny_model), tokenizer, args)
    assert calls == [kind]
    assert changed[column][:] != first[column][:]
    assert len(list(own_cache.iterdir())) == 2


def test_stage_finds_its_own_tokens_when_the_cache_is_gone(tiny_model: Path, tmp_path: Path, own_cache: Path) -> None:
    """An interrupted stage goes on from its own files; another stage then fills the cache again."""
    tokenizer = load_tokenizer(tiny_model)
    args = arguments(trl.SFTConfig, tmp_path)
    first = tokenised_rows(ROWS["sft"], context("sft", tmp_path / "one", tiny_model), tokenizer, args)
    shutil.rmtree(own_cache)
    again = tokenised_rows(ROWS["sft"], context("sft", tmp_path / "one", tiny_model), tokenizer, args)
    assert again["labels"][:] == first["labels"][:]
    assert not own_cache.exists()
    tokenised_rows(ROWS["sft"], context("sft", tmp_path / "two", tiny_model), tokenizer, args)
    assert len(list(own_cache.iterdir())) == 1
