"""Reward `proof`: Coq decides for real where it is installed, Lean by a stand-in that replays its diagnostics."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests.proof_scripts import SCRIPTS, Script
from tests.sandbox_marks import needs_sandbox
from training.rewards import REWARDS, proof_lean
from training.rewards.proof import BACKENDS, check_proof, proof, refusal
from training.rewards.proof_backend import Goal
from training.sandbox.runner import Result, python

STANDIN = Path(__file__).with_name("lean_standin.py")


def score(completion: str, statement: str | None, backend: str, **given: Any) -> float | None:
    columns = {name: [given.pop(name)] for name in ("preamble", "binders") if name in given}
    return proof([completion], [""], [statement], backend, **columns, **given)[0]


@needs_sandbox
@pytest.mark.coq
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.why.replace(" ", "_"))
def test_coq_decides_what_a_proof_earns(script: Script) -> None:
    found = score(
        f"```coq\n{script.proof}\n```",
        script.statement,
        "coq",
        preamble=script.preamble,
        binders=script.binders,
        timeout_s=script.timeout_s,
        axioms=None if script.axioms is None else list(script.axioms),
    )
    assert found == script.expected


@needs_sandbox
@pytest.mark.coq
@pytest.mark.parametrize("case", [case for case in SCRIPTS if case.expected == 1.0], ids=lambda case: case.why)
def test_coq_proof_of_a_true_statement_does_not_prove_false(case: Script) -> None:
    """The control: what the accepted proofs prove is the statement, so none of them proves another one."""
    assert score(f"```coq\n{case.proof}\n```", "0 = 1", "coq", preamble=case.preamble) == 0.0


@pytest.mark.parametrize(
    "script",
    [
        "exact I.",
        "- exact I.\n+ auto.",
        "1: { exact I. }\nall: auto.",
        "2-3: auto.",
        "{ split. { auto. } auto. }",
        "[ goal ]: auto.",
        "(auto; simpl).",
        "(* Axiom *) exact I.",
        "assert (forall A : Set, A -> A) by auto. exact I.",
        "intros x y. rewrite Nat.add_comm. exact (conj I I).",
        "Proof.\nexact I.\nQed.",
    ],
)
def test_coq_proof_script_is_left_to_coq(script: str) -> None:
    assert refusal(f"```coq\n{script}\n```", "coq") is None


@pytest.mark.parametrize(
    "script",
    [
        "rfl",
        ":= by\n  rfl",
        "by\n  intro h -- the end of the section, sorry\n  exact h",
        "/- axiom /- nested -/ -/\ntrivial",
        "open Classical in exact em p",
        "simp [Polynomial.eval_add, Finset.sum_const]",
        "exact @id _ h",
        "have h : a = b := by omega\nexact h ▸ rfl",
    ],
)
def test_lean_proof_script_is_left_to_lean(script: str) -> None:
    assert refusal(f"```lean\n{script}\n```", "lean") is None


@pytest.fixture
def lean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolchain of the stand-in, first on the PATH."""
    program = tmp_path / "bin" / "lean"
    program.parent.mkdir()
    program.write_text(f"#!{python()} -S\n{STANDIN.read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    proof_lean.find_toolchain.cache_clear()
    return tmp_path


@needs_sandbox
@pytest.mark.usefixtures("lean")
@pytest.mark.parametrize(
    ("script", "expected", "why"),
    [
        ("rfl", 1.0, "no axioms"),
        ("omega", 1.0, "Lean's own axioms"),
        ("tauto", 1.0, "a warning is no error"),
        ("exact? ", 0.0, "accepted with a hole: an axiom to Lean"),
        ("decide", 0.0, "computed natively: an axiom of its own"),
        ("bv_decide", 0.0, "computed natively, as earlier versions say it"),
        ("exact nothing", 0.0, "an error"),
        ("simp", 0.0, "an error, and nothing else"),
        ("trace h", 0.0, "two answers about the axioms: one of them was not Lean's"),
        ("quiet", 0.0, "no answer about the axioms"),
        ("repeat skip", 0.0, "never ends"),
    ],
)
def test_lean_diagnostics_decide_what_a_proof_earns(script: str, expected: float, why: str) -> None:
    assert score(f"```lean\n{script}\n```", "1 + 1 = 2", "lean", timeout_s=1) == expected, why


@needs_sandbox
@pytest.mark.usefixtures("lean")
def test_lean_axioms_that_the_config_allows_replace_leans_own() -> None:
    assert score("```lean\nomega\n```", "p", "lean", axioms=["propext"]) == 0.0
    assert score("```lean\nomega\n```", "p", "lean", axioms=["propext", "Quot.sound"]) == 1.0


def test_lean_file_has_the_harness_s_statement_and_an_indented_proof() -> None:
    backend = BACKENDS["lean"]
    goal = Goal("x + 1 = 2", "import Mathlib", "(x : ℝ) (h : x = 1)")
    assert backend.source(goal, backend.text_of(":= by\n  rw [h]\n  norm_num\n"), "name") == (
        "import Mathlib\n\ntheorem name (x : ℝ) (h : x = 1) :\n    x + 1 = 2 := by\n  rw [h]\n  norm_num\n\n"
        "#print axioms name\n"
    )


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("mark = tt\n     : unit\nClosed under the global context\n", []),
        ("mark = tt\n     : unit\nAxioms:\nclassic : forall P : Prop, P \\/ ~ P\n", ["classic"]),
        ("mark = tt\n     : unit\nAxioms:\na.long_name\n  : forall n,\n    n = n\nb : nat\n", ["a.long_name", "b"]),
        ("mark = tt\n     : unit\nAxioms:\nloop is assumed to be guarded.\n", ["loop is assumed to be guarded."]),
        ("mark = tt\n     : unit\nSection Variables:\nx : nat\n", None),
        ("mark = tt\n     : unit\n", None),
        ("Closed under the global context\n", None),
        ("Closed under the global context\nmark = tt\n     : unit\nAxioms:\nx : False\n", ["x"]),
    ],
)
def test_coq_axioms_are_read_behind_the_harness_s_mark(printed: str, expected: list[str] | None) -> None:
    printed = printed.replace("mark = tt", "posttrain_end_of_proof_name = tt")
    result = Result(0, None, printed, "", 0.1, 0.1, 0)
    assert BACKENDS["coq"].axioms_used(result, "name") == expected
    assert BACKENDS["coq"].axioms_used(Result(1, None, printed, "", 0.1, 0.1, 0), "name") is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "backend=None is not accepted; use coq or lean"),
        ({"backend": "isabelle"}, "coq or lean"),
        ({"backend": "coq", "timeout_s": 1000}, "1 to 300"),
        ({"backend": "coq", "timeout_s": True}, "timeout_s=True"),
        ({"backend": "coq", "memory_mb": 10}, "256 or more"),
        ({"backend": "coq", "axioms": "classic"}, "list of names"),
        ({"backend": "coq", "sandbox": "none"}, "sandbox='none'"),
    ],
)
def test_parameters_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_proof({**REWARDS["proof"].parameters, **given})


def test_missing_checker_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="coqc is not on the PATH; install Coq"):
        REWARDS["proof"].require({**REWARDS["proof"].parameters, "backend": "coq"})
    with pytest.raises(UserError, match="lean is not on the PATH"):
        score("```lean\nrfl\n```", "True", "lean")
