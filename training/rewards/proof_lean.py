"""Lean 4 behind the reward `proof`.

Lean's syntax can be changed from inside and its commands need no full stop, so a word list decides what is no proof
script: everything that begins a command, everything that runs code while the proof is elaborated, and everything that
the kernel does not check. Then Lean decides, and `#print axioms` must name nothing but the three axioms of its own
library (or what the config allows): `sorry` and `native_decide` are axioms to it.

The word of the kernel is taken as Lean gives it: environments that metaprograms have edited are kept out by the word
list, and not by replaying the proof in another checker.
"""

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from data.errors import UserError
from training.rewards.proof_backend import Goal, find_program, forbidden_word, without_nested
from training.sandbox.runner import Place, Result, Run, run_programs

COMMANDS = """abbrev add_decl_doc attribute axiom builtin_initialize class class_abbrev compile_inductive constant
    declare_aesop_rule_sets declare_config_elab declare_simp_like_tactic declare_syntax_cat def deriving elab elab_rules
    end example export extern import include inductive infix infixl infixr init_quot initialize instance irreducible_def
    lemma local macro macro_rules module mutual namespace noncomputable notation notation3 omit opaque partial postfix
    prefix private proof_wanted protected public register_builtin_option register_option register_simp_attr run_cmd
    run_elab run_meta scoped seal section set_option simproc simprocs structure syntax theorem universe universes unseal
    variable variables"""
CODE = """by_elab elabTerm evalConst implemented_by csimp reduceBool reduceNat ofReduceBool ofReduceNat trustCompiler
    run_tac unsafe unsafeCast unsafeIO lcProof lcUnreachable ptrEq dbg_trace eval_expr"""
HOLES = "sorry sorryAx admit stop native native_decide nativeDecide skipKernelTC"
REFUSED_SIGNS = ('"', "«", "»", "#", "@[")
"""Strings could hide the start of a comment, « » any text in a name; # begins commands, @[ attributes."""

FORBIDDEN = frozenset(" ".join([COMMANDS, CODE, HOLES]).split())
_LINE_COMMENT = re.compile(r"(?<!\S)--.*")


class Lean:
    """The backend `lean`; Mathlib and others are found through LEAN_PATH, as `lake env` sets it."""

    languages: Collection[str] = ("lean", "lean4")
    axioms: Sequence[str] = ("propext", "Classical.choice", "Quot.sound")
    program = "lean"
    install = "install Lean 4 (elan), or start inside `lake env`"

    def refusal(self, proof: str) -> str | None:
        """Return why a text is no tactic proof, None if it may be one."""
        for sign in REFUSED_SIGNS:
            if sign in proof:
                return f"{sign} is not accepted"
        text = without_comments(proof)
        if text is None:
            return "comments do not balance"
        word = forbidden_word(text, FORBIDDEN)
        return f"{word} is not accepted" if word else None

    def text_of(self, block: str) -> str:
        """Return a proof without the `:= by` that the harness writes."""
        return textwrap.dedent(re.sub(r"\A\s*(?::=)?\s*\bby\b[ \t]*\n?", "", block, count=1).rstrip())

    def source(self, goal: Goal, proof: str, name: str) -> str:
        """Return the file that lean gets."""
        binders = f" {goal.binders.strip()}" if goal.binders.strip() else ""
        inside = textwrap.indent(proof, "  ")
        return (
            f"{goal.preamble}\n\ntheorem {name}{binders} :\n    {goal.statement.strip()} := by\n{inside}\n\n"
            f"#print axioms {name}\n"
        )

    def check(self, source: str, place: Place) -> Result:
        """Run lean, with the folders of LEAN_PATH and its own toolchain in reach."""
        toolchain = find_toolchain()
        libraries = [os.path.realpath(path) for path in os.environ.get("LEAN_PATH", "").split(os.pathsep) if path]
        environment = {"LEAN_PATH": os.pathsep.join(libraries)} if libraries else {}
        place = replace(place, readable=(toolchain, *libraries), environment=environment)
        command = [os.path.join(toolchain, "bin", "lean"), "--json", "goal.lean"]
        return run_programs(place, [Run(command)], {"goal.lean": source})[0]

    def axioms_used(self, result: Result, name: str) -> list[str] | None:
        """Read the one message about `name` among the diagnostics; None where any of them is an error."""
        messages = _messages(result.stdout)
        if not result.ended_well or messages is None or any(each.get("severity") == "error" for each in messages):
            return None
        told = [str(each.get("data")) for each in messages if str(each.get("data")).startswith(f"'{name}' ")]
        if told == [f"'{name}' does not depend on any axioms"]:
            return []
        found = re.fullmatch(rf"'{name}' depends on axioms: \[(.*)\]", told[0], re.DOTALL) if len(told) == 1 else None
        return [axiom.strip() for axiom in found[1].split(",")] if found else None


def without_comments(proof: str) -> str | None:
    """Return a proof without its comments, None where they do not balance.

    A comment counts as one only behind white space: elsewhere its first signs may belong to a longer token, and what
    follows is read as part of the proof.
    """
    return without_nested(_LINE_COMMENT.sub(" ", proof), "/-", "-/")


@cache
def find_toolchain() -> str:
    """Return the folder of the toolchain that `lean` on the PATH stands for (elan's `lean` is only a signpost)."""
    asked = [find_program(Lean()), "--print-prefix"]
    if os.path.basename(asked[0]) != "lean":
        asked[0] = "lean"  # elan goes by the name it is called by
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    prefix = answer.stdout.strip()
    if answer.returncode != 0 or not os.path.isdir(prefix):
        raise UserError(f"reward proof: `lean --print-prefix` names no folder: {(prefix or answer.stderr)[:200]}")
    return os.path.realpath(prefix)


def _messages(text: str) -> list[dict[str, Any]] | None:
    """Return the diagnostics, one JSON object a line; None where a line is none."""
    try:
        messages = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None
    return messages if all(isinstance(message, dict) for message in messages) else None
