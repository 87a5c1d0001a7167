"""Packed rows are the unpacked rows: the same loss at every token, in TRL's head and in ours, on CPU and GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset

from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from tests.test_trainers_parity import arguments, chat
from training.head import use_trained_positions_head
from training.models import load_policy, load_tokenizer
from training.sft import SftTrainer

LENGTHS = (1, 30, 7, 55, 3, 18, 18, 42)
ROWS = [
    {"prompt": chat("user", f"Say {n}"), "completion": chat("assistant", "abcdefg "[n % 8] * length)}
    for n, length in enumerate(LENGTHS)
]
TOLERANCE = 1e-5
"""Nats a token in float32. Measured on a CPU: 0 with this model, 1.9e-5 with SmolLM2-135M (thirty layers)."""


def trainer(model: Path, folder: Path, packing: bool, own_head: bool, device: str, rows: Any = ROWS) -> Any:
    args = arguments(trl.SFTConfig, folder)
    args.packing, args.max_length, args.use_cpu = packing, 128, device == "cpu"
    made = SftTrainer(
        model=load_policy(model).to(device),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(model),
    )
    if own_head:
        use_trained_positions_head(made, "sft")
    made.model.eval()
    return made


def losses_by_row(made: Any, device: str, positions: bool = True) -> dict[tuple[int, ...], list[float]]:
    """Loss of every trained token by the tokens of its row, from one batch of the whole data set as collated."""
    data = made.train_dataset
    batch = made.data_collator([data[place] for place in range(len(data))])
    inputs = {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
    if not positions:
        inputs = {name: inputs[name] for name in ("input_ids", "labels")}
    with torch.no_grad():
        scored = made.model(**inputs, use_cache=False, fused_lm_head=True)
    losses = torch.nn.functional.pad(-scored.log_probs.float(), (1, 0)).cpu()  # the loss of the token at its place
    rows: dict[tuple[int, ...], list[float]] = {}
    for line, (ids, labels) in enumerate(zip(batch["input_ids"], batch["labels"], strict=True)):
        if "position_ids" in batch:
            starts = (batch["position_ids"][line] == 0).nonzero().flatten().tolist()
            spans = list(zip(starts, [*starts[1:], len(ids)], strict=True))
        else:
            spans = [(0, int(batch["attention_mask"][line].sum()))]
        for start, stop in spans:
            trained = labels[start:stop] != -100
            rows[tuple(ids[start:stop].tolist())] = losses[line, start:stop][trained].tolist()
    return rows


def check_same_losses(model: Path, folder: Path, own_head: bool, device: str) -> None:
    plain = losses_by_row(trainer(model, folder, False, own_head, device), device)
    packed = losses_by_row(trainer(model, folder, True, own_head, device), device)
    assert packed.keys() == plain.keys()
    assert len(plain) == len(ROWS)
    for ids, losses in plain.items():
        assert packed[ids] == pytest.approx(losses, abs=TOLERANCE)


@pytest.mark.parametrize("own_head", [True, False])
def test_packed_row_has_the_loss_of_its_rows_at_every_token(own_head: bool, tiny_model: Path, tmp_path: Path) -> None:
    check_same_losses(tiny_model, tmp_path, own_head, "cpu")


@pytest.mark.gpu
def test_packed_row_has_the_loss_of_its_rows_at_every_token_on_a_gpu(tiny_model: Path, tmp_path: Path) -> None:
    check_same_losses(tiny_model, tmp_path, False, "cuda")


def test_without_positions_documents_would_see_each_other(tiny_model: Path, tmp_path: Path) -> None:
    """What the comparison above would catch: the same packed row read as one long document."""
    made = trainer(tiny_model, tmp_path, packing=True, own_head=False, device="cpu")
    apart, together = losses_by_row(made, "cpu"), losses_by_row(made, "cpu", positions=False)
    differing = [ids for ids in apart if apart[ids] != pytest.approx(together[ids], abs=100 * TOLERANCE)]
    assert differing


def test_gradient_of_packed_rows_is_that_of_the_rows(tiny_model: Path, tmp_path: Path) -> None:
    """All rows in one batch, so that both losses are the mean over the same tokens."""
    gradients = []
    for packing in (False, True):
        made = trainer(tiny_model, tmp_path, packing, True, "cpu")
        made.model.train()
        batch = made.data_collator([made.train_dataset[place] for place in range(len(made.train_dataset))])
        loss = made.compute_loss(made.model, batch)
        loss.backward()
        gradients.append({name: value.grad for name, value in made.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_packed_stage_trains_every_row_without_padding(tmp_path: Path) -> None:
    """Twenty rows of 50 to 72 tokens, packed into rows of 256: two packed rows a step, no padded position."""
    block = stage("sft", folder=tmp_path, rows=20, batch_size=2)
    block["trainer"] |= {"packing": True, "max_length": 256, "max_steps": 2}
    config = write_pipeline(tmp_path, block, runtime={"micro_batch_size": 2})
    assert run_stage(config, "sft") == 0
    folder = planned(config, "sft").folder
    steps = metrics(folder)
    data = json.loads((folder / "record.json").read_text())["data"]
    assert data["packed_rows"] in (5, 6)
    assert data["rows_kept"] == 20
    assert [step["perf/padding_share"] for step in steps] == [0.0, 0.0]
    trained = [round(step["perf/samples_per_s"] * step["timing_s/step"]) for step in steps]
    assert all(2 < rows <= 10 for rows in trained), trained  # rows, not the two packed rows of a step
