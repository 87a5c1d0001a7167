"""The kernel for a few rows: torch's products, the same bits in any company, and oneDNN where it cannot be built."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from training import few_rows
from training.few_rows import FewRows, why_not_few_rows
from training.packed_linear import packed_linears


@pytest.fixture
def kernel() -> Iterator[None]:
    """One thread, and a kernel; a machine without a compiler skips."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    few_rows._found.cache_clear()
    if why_not_few_rows() is not None:
        pytest.skip(str(why_not_few_rows()))
    yield
    few_rows._found.cache_clear()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 33])
@pytest.mark.parametrize(("outputs", "inputs", "bias"), [(1, 1, True), (16, 8, False), (37, 19, True), (64, 96, False)])
def test_products_are_those_of_torch(kernel: None, rows: int, outputs: int, inputs: int, bias: bool) -> None:
    """Of standard normal numbers within 1e-5: sums in another order."""
    torch.manual_seed(rows)
    layer, x = nn.Linear(inputs, outputs, bias), torch.randn(rows, inputs)
    product = FewRows(layer.weight, layer.bias)
    with torch.no_grad():
        torch.testing.assert_close(product(x), layer(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(product(x[:, None]), layer(x[:, None]), atol=1e-5, rtol=1e-5)
        every_other = torch.randn(rows, 2 * inputs)[:, ::2]  # not contiguous
        torch.testing.assert_close(product(every_other), layer(every_other), atol=1e-5, rtol=1e-5)


def test_a_row_has_the_same_bits_alone_and_in_any_company(kernel: None) -> None:
    torch.manual_seed(0)
    product, x = FewRows(torch.randn(192, 576), torch.randn(192)), torch.randn(64, 576)
    together = product(x)
    for count in (1, 2, 3, 4, 5, 6, 7, 9, 17, 32):
        assert torch.equal(product(x[:count]), together[:count])
        assert torch.equal(product(x[-count:]), together[-count:])


def test_it_keeps_copies_of_what_it_multiplies_by(kernel: None) -> None:
    weight, bias, x = torch.randn(5, 7), torch.randn(5), torch.randn(2, 7)
    product = FewRows(weight, bias)
    before = product(x)
    weight.zero_()
    bias.zero_()
    assert torch.equal(product(x), before)


@pytest.mark.parametrize(("compiler", "reason"), [("no-such-compiler", "no C compiler"), ("false", "false failed")])
def test_without_a_compiler_onednn_multiplies(
    kernel: None, compiler: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_rows._found.cache_clear()
    monkeypatch.setenv("POSTTRAIN_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", compiler)
    assert reason in (why_not_few_rows() or "")
    layer, x = nn.Linear(8, 16), torch.randn(3, 8)
    with torch.no_grad(), packed_linears(layer):
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
    assert not list((tmp_path / "kernels").iterdir())


def test_a_rank_of_several_threads_leaves_it_to_onednn(kernel: None) -> None:
    torch.set_num_threads(2)
    assert why_not_few_rows() == "the rank has several threads"


def test_the_compiler_may_have_arguments_and_a_torn_library_is_made_again(
    kernel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTTRAIN_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "cc -DUNUSED=1")
    path = few_rows._built()
    path.write_bytes(path.read_bytes()[:100])
    few_rows._found.cache_clear()
    assert why_not_few_rows() is None
    assert path.stat().st_size > 1000


def test_it_is_compiled_once_for_a_processor(kernel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTTRAIN_CACHE", str(tmp_path))
    first = few_rows._built()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert few_rows._built() == first
    monkeypatch.setattr(few_rows, "cpu_flags", lambda: frozenset({"another"}))
    with pytest.raises(few_rows.CannotBuildError, match="no C compiler"):
        few_rows._built()
