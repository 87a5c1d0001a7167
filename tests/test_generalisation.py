"""The generalisation suite: its five parts, its gaps by hand, and a stage that measures them."""

import json
import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from data.formats import normalise
from data.generalisation import (
    TrainedFamily,
    counts_for,
    fresh_items,
    harder_items,
    reworded_items,
    trained_items,
    unseen_items,
)
from data.generators import entries, instances
from data.harder import harder_parameters
from data.rewording import REWRITTEN, reworded
from tests import stage_runs
from training.bundled import materialise
from training.config import load_pipeline
from training.estimates import difference
from training.generalisation import generalisation_metrics, summarise_parts
from training.plan import data_seed
from training.record import read_record
from training.rows import rows_in_limits
from training.summary import print_table, summarise
from training.trained_rows import families_with_rows

EASY = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def family(name: str = "chain_sum", parameters: dict | None = None, rows: int = 6, stage: str = "sft") -> TrainedFamily:
    parameters = EASY if parameters is None else parameters
    made = instances({name: parameters}, rows, 3)
    found = [{"item": f"{stage}/{n}", **row, "stages": [stage]} for n, row in enumerate(made)]
    return TrainedFamily(name, parameters, (stage,), tuple(found))


# harder


def test_harder_chain_sums_have_more_terms_and_more_digits_than_any_trained() -> None:
    """Trained with 2 terms of 1 digit and with 2 to 3 terms of 1 to 2: the next levels are 4 terms and 3 digits."""
    raised = harder_parameters("chain_sum", [EASY, {**EASY, "max_terms": 3, "max_digits": 2}])
    assert raised == {"min_terms": 4, "max_terms": 4, "min_digits": 3, "max_digits": 3}
    for _, entry in zip(range(20), entries("chain_sum", raised, 1), strict=False):
        terms = entry[1]["metadata"]["expression"].split()[::2]
        assert len(terms) == 4
        assert all(len(term) == 3 for term in terms)


def test_harder_keeps_what_no_level_moves_and_takes_defaults_for_what_is_not_given() -> None:
    """leg_counting's levels of instances are powers of two, as an interval: beyond 5 come 8 and 16; animals 1 to 10
    trained (the default maximum) become 11. basic_arithmetic keeps its operators.
    """
    assert harder_parameters("leg_counting", [{"max_instances": 5}]) == {
        "min_animals": 11,
        "max_animals": 11,
        "min_instances": 8,
        "max_instances": 16,
    }
    easy = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "operators": ["+"]}
    assert harder_parameters("basic_arithmetic", [easy])["operators"] == ["+"]
    ranges = harder_parameters("fraction_simplification", [{"max_value": 10, "max_factor": 10}])
    assert 10 < ranges["min_value"] < ranges["max_value"]  # the family refuses a range of one value


def test_a_family_without_a_curriculum_or_beyond_its_last_level_says_why_it_has_none() -> None:
    with pytest.raises(UserError, match="no levels of difficulty"):
        harder_parameters("composite", [{}])
    with pytest.raises(UserError, match="no parameter has a level beyond"):
        harder_parameters("chain_sum", [{"min_terms": 2, "max_terms": 12, "min_digits": 1, "max_digits": 10}])


# reworded


@pytest.mark.parametrize("name", sorted(REWRITTEN))
def test_rewritten_questions_keep_every_number_and_name_and_lose_the_wording(name: str) -> None:
    few = {"max_terms": 2, "max_digits": 2} if name == "basic_arithmetic" else {}
    for settings in (few, {**few, "format_style": "natural"}) if few else ({},):
        for _, (_, entry) in zip(range(10), entries(name, settings, 5), strict=False):
            text, how = reworded(name, entry["question"])
            assert how == "rewritten", entry["question"]
            assert sorted(re.findall(r"\d+", text)) == sorted(re.findall(r"\d+", entry["question"]))
            old, new = (set(re.findall(r"[A-Za-z]{4,}", one)) for one in (entry["question"], text))
            assert old != new


def test_a_question_of_an_unknown_family_is_framed_whole() -> None:
    text, how = reworded("needle_haystack", "Who loves tea?")
    assert (how, "Who loves tea?" in text) == ("framed", True)


# items


def test_reworded_items_pair_with_the_trained_ones_and_fresh_ones_are_new() -> None:
    known = family(rows=6)
    trained = trained_items([known], 4, seed=1)
    again = reworded_items(trained)
    assert len(trained) == 4
    assert [(i["item"], i["answer"], i["stages"]) for i in trained] == [
        (i["item"], i["answer"], i["stages"]) for i in again
    ]
    assert all(i["prompt"] != j["prompt"] for i, j in zip(trained, again, strict=True))
    taken = {normalise(row["prompt"]) for row in known.rows}
    fresh = fresh_items([known], 30, 2, taken)
    prompts = [normalise(item["prompt"]) for item in fresh]
    assert len(set(prompts)) == len(prompts) == 30
    assert not taken & set(prompts)


def test_a_family_that_runs_out_gives_what_it_has_and_the_others_go_on() -> None:
    """count_bits from 1 to 3 has three questions; chain_sum fills the rest."""
    few = family("count_bits", {"min_n": 1, "max_n": 3}, rows=1)
    fresh = fresh_items([few, family()], 20, 2, set())
    counts = [sum(item["family"] == name for item in fresh) for name in ("count_bits", "chain_sum")]
    assert counts == [3, 17]


def test_harder_and_unseen_items_say_which_stages_they_belong_to() -> None:
    harder = harder_items({"chain_sum": {**EASY, "max_terms": 3}}, [family(stage="grpo")], 2, 1, set())
    assert [item["stages"] for item in harder] == [["grpo"], ["grpo"]]
    assert [item["stages"] for item in unseen_items({"gcd": {}}, 1, 1, set())] == [None]
    assert counts_for({"grpo"}, None)
    assert not counts_for({"sft"}, ["grpo"])


# which rows count as trained


def context_of(folder: Path, *stages: dict, parent: str = "sft") -> Any:
    """As much of a stage's context as chooses items and judges by them; every stage's folder is `folder`."""
    pipeline = load_pipeline(stage_runs.write_pipeline(folder, *stages))
    return SimpleNamespace(pipeline=pipeline, system=None, pin=str, folder_of=lambda _: folder, parent_name=parent)


def generator(rows: int = 8, **parameters: int) -> dict:
    families = {"chain_sum": {**EASY, **parameters}}
    return {"generator": {"name": "reasoning_gym", "families": families, "rows": rows, "completions": "worked"}}


def test_items_of_a_mixture_have_names_of_their_own_and_are_the_rows_in_use(tmp_path: Path) -> None:
    """Two sources of 8 rows, of which 3 and 5 are drawn."""
    mix = [generator(max_digits=2) | {"rows": 3}, generator(min_digits=3, max_digits=3) | {"rows": 5}]
    context = context_of(tmp_path, sft("sft", "chain_sum", EASY) | {"data": {"mix": mix}})
    rows = [row for known in families_with_rows(context) for row in known.rows]
    assert [sum(row["item"].startswith(f"sft/{place}/") for row in rows) for place in (0, 1)] == [3, 5]
    assert len({row["item"] for row in rows}) == 8
    stage = context.pipeline.stages[0]
    used = rows_in_limits(context.pipeline, stage, data_seed(context.pipeline, "sft"), None, None, str, str)
    assert {normalise(row["prompt"]) for row in rows} == {normalise(row["prompt"][0]["content"]) for row in used.rows}


def test_rows_that_a_stage_leaves_out_are_not_asked_as_trained(tmp_path: Path) -> None:
    """By a limit; by length: single digits fit, 60 and more terms do not."""
    few = sft("few", "chain_sum", EASY)
    few["data"]["limit"] = 5
    data = {**generator(rows=20, max_terms=60), "max_prompt_tokens": 150}
    context = context_of(tmp_path, few, sft("short", "chain_sum", EASY) | {"data": data})
    (tmp_path / "model").symlink_to(materialise("tiny-random"))
    rows = [row for known in families_with_rows(context) for row in known.rows]
    counts = [sum(name in row["stages"] for row in rows) for name in ("few", "short")]
    assert counts[0] == 5
    assert 0 < counts[1] < 20


def test_rows_dropped_by_pass_rates_are_asked_and_do_not_count(tmp_path: Path) -> None:
    """The probe finds 2 of 8 rows neither easy nor hard: the model is judged on these, the base on all."""
    probe = stage_runs.stage("sample", "probe", folder=tmp_path)
    bounds = {"at_least": 0.2, "at_most": 0.8, "measured_by": "stage:probe"}
    trained = sft("sft", "chain_sum", EASY)
    trained["data"] |= {"difficulty": bounds}
    context = context_of(tmp_path, probe, trained)
    rows = [row for known in families_with_rows(context) for row in known.rows]
    assert len(rows) == 8
    rates = [{"prompt": row["prompt"], "pass_rate": 0.5 if place < 2 else 1.0} for place, row in enumerate(rows)]
    (tmp_path / "pass_rates.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rates))
    asked = trained_items([TrainedFamily("chain_sum", EASY, ("sft",), tuple(rows))], 8, seed=1)
    items = [*asked, *reworded_items(asked), *fresh_items([family(stage="sft")], 3, 2, set())]
    answers = [{**item, "correct": 1, "tokens": 1} for item in items]
    for parent, count in (("sft", 2), ("base", 8)):
        context.parent_name = parent
        parts = generalisation_metrics(context, items, answers, {})["parts"]
        assert [parts[part]["n"] for part in ("trained", "reworded", "fresh")] == [count, count, 3]


# what is reported


def test_gaps_by_hand() -> None:
    """Trained 3 of 4, reworded 1 of 4 of the same, fresh 1 of 2: memorisation gap 0.75 - 0.5, rewording gap 0.5.

    Independent rates 56/70 and 48/80, from Newcombe 1998, table II (a), method 10: 0.2, 0.0524 to 0.3339.
    """
    assert difference(48, 80, 56, 70) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    outcomes = {"trained": [1, 1, 1, 0], "reworded": [0, 1, 0, 0], "fresh": [1, 0], "harder": [], "unseen": [0]}
    rows = [
        {"suite": f"generalisation/{part}", "item": str(n), "correct": correct, "family": "gcd"}
        for part, found in outcomes.items()
        for n, correct in enumerate(found)
    ]
    found = summarise_parts(rows)
    assert (found["memorisation_gap"]["difference"], found["memorisation_gap"]["n"]) == (0.25, [4, 2])
    assert (found["rewording_gap"]["difference"], found["rewording_gap"]["n"]) == (0.5, 4)
    assert found["difficulty_gap"] is None
    assert found["parts"]["harder"] is None
    assert found["parts"]["unseen"]["accuracy"] == 0.0
    assert found["parts"]["trained"]["families"] == {"gcd": {"accuracy": 0.75, "n": 4}}


def sft(name: str, task: str, parameters: dict) -> dict:
    generator = {"name": "reasoning_gym", "families": {task: parameters}, "rows": 8, "completions": "worked"}
    trainer = {"max_steps": 1, "max_length": 128, "bf16": False}
    return {"name": name, "kind": "sft", "batch_size": 4, "data": {"generator": generator}, "trainer": trainer}


def questions(folder: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    return [(row["suite"], normalise(row["prompt"])) for row in rows]


def test_a_run_asks_every_model_the_same_and_judges_each_on_its_own_rows(tmp_path: Path) -> None:
    """Two SFT stages on different families: the first is judged on its own alone, the second on both, the base on
    all; no fresh question is a row of either.
    """
    suite = {"items": 2, "data": {"generator": {"name": "reasoning_gym", "families": {"gcd": {}}}}}
    evaluate = {"suites": ["easy"], "max_completion_length": 4, "generalisation": {"items": 6}}
    stages = [sft("one", "chain_sum", EASY), sft("two", "count_bits", {"max_n": 900})]
    config = stage_runs.write_pipeline(tmp_path, *stages, suites={"easy": suite}, evaluate=evaluate)
    order = ("evaluate-base", "one", "evaluate-one", "two", "evaluate-two")
    assert [stage_runs.run_stage(config, name) for name in order] == [0] * 5
    folders = {name: stage_runs.planned(config, f"evaluate-{name}").folder for name in ("base", "one", "two")}
    blocks = {name: (read_record(folder) or {})["metrics"]["generalisation"] for name, folder in folders.items()}
    assert [blocks[name]["parts"]["trained"]["n"] for name in blocks] == [6, 3, 6]
    assert list(blocks["one"]["parts"]["fresh"]["families"]) == ["chain_sum"]
    assert (blocks["base"]["trained_by"], blocks["two"]["trained_by"]) == ({}, {"one": 0.5, "two": 0.5})
    assert blocks["one"]["harder"]["chain_sum"]["max_terms"] == 3
    asked = [questions(folder) for folder in folders.values()]
    assert asked[0] == asked[1] == asked[2]
    trained, fresh = ({text for name, text in asked[0] if name.endswith(part)} for part in ("trained", "fresh"))
    assert len(trained) == len(fresh) == 6
    assert not trained & fresh
    check_table(tmp_path / "runs" / "demo")


def check_table(run_dir: Path) -> None:
    """The terminal table has a line for each model, the summary the transfer of those that trained."""
    out = StringIO()
    print_table(run_dir, out)
    summary = summarise(run_dir)
    assert [row.model for row in summary.generalisation] == ["base", "one", "two"]
    assert [sorted(row.transfer) for row in summary.generalisation] == [[], *[["fresh", "harder", "unseen"]] * 2]
    assert (summary.suites, summary.damage) == (["easy"], [])
    # Six fresh items in turn of two families: the first stage has transfer on its own three alone.
    assert [row.transfer["fresh"][3] for row in summary.generalisation[1:]] == [3, 6]
    assert [row.transfer["unseen"][3] for row in summary.generalisation[1:]] == [6, 6]
    assert "memorisation gap" in out.getvalue()
