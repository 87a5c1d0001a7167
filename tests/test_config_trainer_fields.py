"""TRL's fields as read from its sources: the same as the imported classes have, and every one classified."""

from __future__ import annotations

import dataclasses
import importlib

import pytest

from data.without_compiler import import_reasoning_gym
from training.config.task_families import families, parameters
from training.config.trainer_classes import CLASSES, Refused
from training.config.trainer_fields import CONFIG_CLASSES, default, fields, unaccepted


@pytest.mark.parametrize("kind", CONFIG_CLASSES)
def test_fields_read_from_the_source_are_those_of_the_imported_class(kind: str) -> None:
    config_class = getattr(importlib.import_module("trl"), CONFIG_CLASSES[kind])
    assert set(fields(kind)) == {field.name for field in dataclasses.fields(config_class)}


@pytest.mark.parametrize("kind", CONFIG_CLASSES)
def test_literal_defaults_read_from_the_source_are_those_of_the_imported_class(kind: str) -> None:
    config_class = getattr(importlib.import_module("trl"), CONFIG_CLASSES[kind])
    real = {field.name: field.default for field in dataclasses.fields(config_class)}
    for name in ("learning_rate", "max_steps", "logging_steps", "gradient_checkpointing", "bf16"):
        assert default(kind, name) == real[name]


@pytest.mark.parametrize("kind", CONFIG_CLASSES)
def test_every_installed_field_is_classified(kind: str) -> None:
    assert sorted(set(fields(kind)) - set(CLASSES)) == []


def test_every_classified_field_is_installed() -> None:
    installed = set().union(*(fields(kind) for kind in CONFIG_CLASSES))
    assert sorted(set(CLASSES) - installed) == []


def test_every_refusal_has_a_reason_and_every_accepted_field_a_kind_of_value() -> None:
    for kind in CONFIG_CLASSES:
        for name, info in fields(kind).items():
            treatment = CLASSES[name]
            if isinstance(treatment, Refused):
                assert len(treatment.reason) > 10
            else:
                assert info.accepted_kinds, name


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        ("sft", "learning_rate", 1, None),
        ("sft", "learning_rate", 0.1, None),
        ("sft", "learning_rate", True, "a number"),
        ("sft", "learning_rate", "1", "a number"),
        ("sft", "max_steps", 1, None),
        ("sft", "max_steps", 1.0, "a whole number"),
        ("sft", "max_length", None, None),
        ("sft", "packing", True, None),
        ("sft", "packing", 1, "true or false"),
        ("sft", "lr_scheduler_type", "cosine", None),
        ("sft", "lr_scheduler_type", 3, "text"),
        ("sft", "lr_scheduler_kwargs", {"num_cycles": 1}, None),
        ("sft", "pad_to_multiple_of", "auto", None),
        ("sft", "pad_to_multiple_of", 8, None),
        ("sft", "pad_to_multiple_of", 8.0, "a whole number or text or null"),
        ("dpo", "loss_type", ["sigmoid"], None),
        ("dpo", "loss_type", "sigmoid", "a list"),
        ("grpo", "loss_type", "dapo", None),
        ("grpo", "generation_kwargs", [], "text or a mapping or null"),
    ],
)
def test_the_kind_of_a_value_is_checked_against_the_annotation(
    kind: str, name: str, value: object, words: str | None
) -> None:
    assert unaccepted(kind, name, value) == words


def test_a_subclass_default_wins_over_the_base_class() -> None:
    assert (fields("sft")["learning_rate"].owner_class, default("sft", "learning_rate")) == ("SFTConfig", 2e-5)
    assert (fields("grpo")["logging_steps"].owner_class, default("grpo", "logging_steps")) == ("_BaseConfig", 10)
    assert fields("grpo")["weight_decay"].owner_class == "TrainingArguments"


def test_task_families_read_from_the_source_are_those_of_the_imported_package() -> None:
    datasets = import_reasoning_gym().factory.DATASETS
    assert set(families()) == set(datasets) - {"composite"}


@pytest.mark.parametrize(
    "family", ["chain_sum", "letter_counting", "gcd", "basic_arithmetic", "palindrome_partitioning"]
)
def test_parameters_read_from_the_source_are_those_of_the_imported_family(family: str) -> None:
    config_class = import_reasoning_gym().factory.DATASETS[family][1]
    assert set(parameters(family)) == {field.name for field in dataclasses.fields(config_class)} - {"seed", "size"}
