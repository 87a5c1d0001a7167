"""The rows that an alarm names where rows are given: those of its step, also where the trainer dropped or packed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from data.accounting import Account, Rows
from training.detectors.detector import everything
from training.resumable import EpochSampler
from training.step_rows import StepRows


def rows_of(folder: Path, trained: list[dict[str, Any]]) -> StepRows:
    """A stage of six rows, of which the source's second was bad; batches of two."""
    account = Account("rows.jsonl", max_bad_rows=0.5)
    account.origin.begin("rows.jsonl")
    numbers = []
    for line in range(1, 8):
        number = account.origin.add(line)
        if line == 2:
            account.bad(number, "empty", "")
        else:
            numbers.append(number)
    rows = [{"prompt": f"p{number}", "completion": f"c{number}", "answer": "unused"} for number in numbers]
    tokenizer = SimpleNamespace(decode=lambda ids: "".join(chr(token) for token in ids))
    sampler = EpochSampler(len(trained), 2, seed=3)
    trainer = SimpleNamespace(
        train_dataset=trained,
        epoch_sampler=sampler,
        processing_class=tokenizer,
        state=SimpleNamespace(global_step=1),
    )
    context: Any = SimpleNamespace(
        folder=folder, planned=SimpleNamespace(kind="sft"), world=SimpleNamespace(is_main=True)
    )
    return StepRows(context, trainer, Rows(rows, {}, 7, account, numbers))


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_rows_are_named_by_source_and_line_past_those_that_were_dropped(tmp_path: Path) -> None:
    """TRL kept the stage's rows 0, 2, 3 and 5: lines 1, 4, 5 and 7 of the file."""
    step_rows = rows_of(tmp_path, [{"row": place, "input_ids": [1]} for place in (0, 2, 3, 5)])
    assert step_rows.lines(everything) == [1, 2]
    assert step_rows.lines(everything) == [1, 2]  # a second alarm at the same step
    step_rows.trainer.state.global_step = 2
    assert step_rows.lines(everything) == [3, 4]
    found = written(tmp_path)
    assert [row["step"] for row in found] == [1, 1, 2, 2]
    assert {(row["row"], row["where"], row["prompt"], row["completion"]) for row in found} == {
        (number, f"rows.jsonl:{number + 1}", f"p{number}", f"c{number}") for number in (0, 3, 4, 6)
    }
    assert all("answer" not in row for row in found)


def test_rows_of_steps_to_be_trained_again_are_dropped_on_resume(tmp_path: Path) -> None:
    trained = [{"row": place, "input_ids": [1]} for place in range(6)]
    step_rows = rows_of(tmp_path, trained)
    for step in (1, 3):
        step_rows.trainer.state.global_step = step
        step_rows.lines(everything)
    first = written(tmp_path)
    resumed = rows_of(tmp_path, trained)
    none: Any = None
    resumed.on_train_begin(none, SimpleNamespace(global_step=2), none)
    assert written(tmp_path) == first[:2]
    resumed.trainer.state.global_step = 3
    assert resumed.lines(everything) == [3, 4]
    assert written(tmp_path) == first


def test_packed_rows_are_named_by_their_text(tmp_path: Path) -> None:
    step_rows = rows_of(tmp_path, [{"input_ids": [97 + place, 98]} for place in range(2)])
    step_rows.lines(everything)
    assert sorted(row["text"] for row in written(tmp_path)) == ["ab", "bb"]
