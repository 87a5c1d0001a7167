"""Canonical JSON, fingerprints and file hashes: equal experiments are equal, different ones are not."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from training.identity import canonical_json, derived_seed, file_sha256, fingerprint, sha256_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "ü"]}, '{"a":[true,null,"ü"],"b":1}'),
        (5e-06, "5e-06"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e22, "1e+22"),
        ((1, 2), "[1,2]"),
        ({}, "{}"),
    ],
)
def test_canonical_json_value_has_one_text(value: object, text: str) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_non_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no place in an identity"):
        canonical_json({"learning_rate": value})


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {2, 3}}, [object()]])
def test_canonical_json_not_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_canonical_json_true_is_not_one() -> None:
    assert canonical_json(True) != canonical_json(1)


def test_fingerprint_key_order_and_whole_floats_do_not_matter() -> None:
    assert fingerprint({"beta": 0, "rate": 5e-6}) == fingerprint({"rate": 0.000005, "beta": 0.0})


@pytest.mark.parametrize("other", [{"rate": 1e-5}, {"rate": "5e-06"}, {"rate": 5e-6, "beta": None}, {}])
def test_fingerprint_any_difference_counts(other: dict[str, object]) -> None:
    assert fingerprint({"rate": 5e-6}) != fingerprint(other)


def test_fingerprint_stays_what_it_was_when_first_released() -> None:
    """The sha256 of the literal text, so that a change of the canonical form cannot pass unseen."""
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"x"}').hexdigest()
    assert fingerprint({"b": "x", "a": [1.0, 2.5]}) == expected == sha256_text('{"a":[1,2.5],"b":"x"}')


def test_derived_seed_owners_draw_apart_and_seeds_fit_31_bits() -> None:
    seeds = {derived_seed(seed, owner) for seed in range(50) for owner in ("sft", "pairs", "in_domain")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived_seed(17, "sft") == derived_seed(17, "sft")


def settled(path: Path, text: str) -> None:
    """Write a file whose last change lies far enough back for its hash to be cached."""
    path.write_text(text)
    long_ago = time.time_ns() - 60_000_000_000
    os.utime(path, ns=(long_ago, long_ago))


def test_file_sha256_equals_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 3_000_001)
    assert file_sha256(path) == hashlib.sha256(b"x" * 3_000_001).hexdigest()


def test_file_sha256_unchanged_file_is_read_once(tmp_path: Path) -> None:
    """Content swapped behind an unchanged size and mtime shows that the cache, not the file, was read."""
    path, cache = tmp_path / "rows.jsonl", tmp_path / "cache"
    settled(path, "first")
    before = file_sha256(path, cache)
    stat = path.stat()
    path.write_text("other")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_sha256(path, cache) == before
    assert file_sha256(path) != before


def test_file_sha256_changed_mtime_is_read_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "rows.jsonl", tmp_path / "cache"
    settled(path, "first")
    before = file_sha256(path, cache)
    path.write_text("other")
    assert file_sha256(path, cache) != before


def test_file_sha256_fresh_file_is_not_cached(tmp_path: Path) -> None:
    """Two writes within one tick of the clock would otherwise share a cache entry."""
    path, cache = tmp_path / "rows.jsonl", tmp_path / "cache"
    path.write_text("first")
    before = file_sha256(path, cache)
    stat = path.stat()
    path.write_text("other")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_sha256(path, cache) != before


def test_file_sha256_unusable_cache_costs_only_time(tmp_path: Path) -> None:
    path, cache = tmp_path / "rows.jsonl", tmp_path / "cache"
    settled(path, "first")
    cache.write_text("a file where a folder should be")
    assert file_sha256(path, cache) == hashlib.sha256(b"first").hexdigest()
