"""The smallest change that fits: the one named fits, and no smaller one before it does."""

from dataclasses import replace

import pytest

from training.estimate.batch_algebra import BatchAlgebra
from training.estimate.estimate import fits_on
from training.estimate.hardware import GPUS, Device
from training.estimate.known_models import find_config
from training.estimate.memory import memory
from training.estimate.remedies import Change, smallest_change
from training.estimate.shape import shape_of
from training.estimate.workload import Workload
from training.estimate.workloads import Job

LLAMA = shape_of(find_config("meta-llama/Llama-2-7b-hf"))
SMALL = shape_of(find_config("bundled:smollm2-135m-instruct"))


def sft(ranks: int = 8, micro: int = 8, zero_stage: int = 3, length: int = 4096) -> Job:
    work = Workload(
        "sft", ranks=ranks, zero_stage=zero_stage, micro_batch=micro, sequence_length=length, compute_dtype="bfloat16"
    )
    sizes = BatchAlgebra("sft", 512, ranks, micro, 1, 0, 1, None, False, None, None, False)
    return Job(work, sizes, None, 0.0, None, 1, 0.0, False)


def device(memory_gb: float) -> Device:
    return replace(GPUS["h100-80gb"], memory=memory_gb * 1e9)


@pytest.mark.parametrize("memory_gb", [40, 60, 80, 120, 180])
def test_the_change_named_fits_and_the_config_did_not(memory_gb: float) -> None:
    job, on = sft(), device(memory_gb)
    assert not fits_on(memory(LLAMA, job.workload), on)
    change = smallest_change([(LLAMA, job)], on)
    assert change is not None
    work = change.applied(job)
    assert work is not None
    assert fits_on(memory(LLAMA, work), on)


def test_a_smaller_micro_batch_comes_first_and_is_as_large_as_fits() -> None:
    on = device(180)
    change = smallest_change([(LLAMA, sft())], on)
    assert change is not None
    assert change == Change(micro_batch=change.micro_batch)
    assert change.micro_batch in (4, 2, 1)
    larger = Change(micro_batch=change.micro_batch * 2).applied(sft())
    assert larger is not None
    assert not fits_on(memory(LLAMA, larger), on)


def test_ddp_states_that_do_not_fit_ask_for_zero() -> None:
    """16 bytes x 6.7 B are 108 GB on every rank whatever the batch; ZeRO shares them."""
    change = smallest_change([(LLAMA, sft(micro=1, zero_stage=0, length=128))], device(80))
    assert change is not None
    assert change.zero_stage in (1, 2, 3)
    assert change.micro_batch is None


def test_one_rank_alone_has_to_offload() -> None:
    change = smallest_change([(LLAMA, sft(ranks=1, micro=1, zero_stage=0, length=128))], device(40))
    assert change is not None
    assert change.offload_optimizer


def test_ranks_that_do_not_divide_the_batch_are_no_change() -> None:
    assert Change(ranks=3).applied(sft()) is None
    assert Change(ranks=16).applied(sft()) is not None


def test_whole_weights_that_do_not_fit_have_no_remedy() -> None:
    job = Job(Workload("evaluate", generation_rows=1, completion_length=1), None, None, 0.0, 1.0, 1, 0.0, False)
    assert smallest_change([(LLAMA, job)], device(10)) is None


def test_decoding_fewer_rows_is_named_for_stages_that_decode() -> None:
    work = Workload("evaluate", generation_rows=64, prompt_length=256, completion_length=4096, compute_dtype="bfloat16")
    job = Job(work, None, None, 0.0, 1.0, 1, 0.0, False)
    change = smallest_change([(LLAMA, job)], device(40))
    assert change is not None
    assert change.words() == f"batch_size {change.decode_rows} in evaluate and sample stages"


def test_a_teacher_s_draws_are_judged_by_the_teacher_s_shape() -> None:
    """The stage that does not fit draws from a model 50 times the base's size: by the base's shape no change is needed,
    and the first one tried would be named.
    """
    work = Workload("sample", generation_rows=64, prompt_length=256, completion_length=4096, compute_dtype="bfloat16")
    draws, on = Job(work, None, None, 0.0, 1.0, 1, 0.0, False), device(40)
    training = sft(ranks=1, micro=8, zero_stage=0, length=512)
    change = smallest_change([(SMALL, training), (LLAMA, draws)], on)
    assert change is not None
    assert change == Change(decode_rows=change.decode_rows)
    after = change.applied(draws)
    assert after is not None
    assert fits_on(memory(LLAMA, after), on)
    assert not fits_on(memory(LLAMA, draws.workload), on)
