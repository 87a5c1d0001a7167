"""Coq behind the reward `proof` (8.16; later ones and Rocq's coqc have the same commands).

A proof script is a list of tactic sentences. Everything that could do more than prove is a command of Coq's vernacular,
and commands begin with a capital letter (or `#[`), tactics do not: so sentences that begin with anything but a tactic
are refused, and with them Admitted, Axiom, Unset Guard Checking, Notation, Qed and whatever comes next. What remains is
decided by Coq's kernel at the harness's own Qed, and by Print Assumptions after it.
"""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from training.rewards.proof_backend import Goal, find_program, forbidden_word, without_nested
from training.sandbox.runner import Place, Result, Run, run_programs

# Words that end or fake a proof wherever they stand, or leave what the kernel checks (native_compute runs a compiler).
WORDS = """Admitted Admit admit Abort Qed Defined Save Axiom Axioms Conjecture Parameter Parameters Hypothesis
    Hypotheses Unset bypass_check native_compute native_cast_no_check vm_cast_no_check exact_no_check give_up shelve
    shelve_unifiable Obligations Redirect Extraction"""
FORBIDDEN = frozenset(WORDS.split())
# What may stand before a tactic: bullets, braces, and goals it is meant for.
_BEFORE_TACTIC = re.compile(
    r"(?:\s|[-+*{}]|(?:all|par|!|\d+(?:-\d+)?(?:\s*,\s*\d+(?:-\d+)?)*|\[\s*\w+\s*\])\s*:(?!=))*"
)
_TACTIC = re.compile(r"[a-z_(\[]")
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_MARK = "posttrain_end_of_proof"
FINDLIB = ("/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d")
"""Where Debian's coqc looks for its plugins before it starts."""

_NOTICE = "Fetching opaque proofs from disk"


class Coq:
    """The backend `coq`."""

    languages: Collection[str] = ("coq", "rocq", "v")
    axioms: Sequence[str] = ()
    program = "coqc"
    install = "install Coq (Debian: apt-get install coq)"

    def refusal(self, proof: str) -> str | None:
        """Return why a text is no list of tactics, None if it may be one."""
        if '"' in proof or "(*)" in proof:
            return "quotation marks are not accepted"
        text = without_nested(proof, "(*", "*)")
        if text is None:
            return "comments do not balance"
        word = forbidden_word(text, FORBIDDEN)
        if word is not None:
            return f"{word} is not accepted"
        *sentences, rest = _SENTENCE_END.split(text)
        for sentence in [*sentences, rest]:
            start = _BEFORE_TACTIC.match(sentence)
            tactic = sentence[start.end() if start else 0 :]
            if tactic and not _TACTIC.match(tactic):
                return f"{tactic[:30]!r} is no tactic"
        if _BEFORE_TACTIC.sub("", rest, count=1):
            return "the last tactic has no full stop"
        return None

    def text_of(self, block: str) -> str:
        """Return a proof without its Proof. and Qed."""
        return re.sub(r"\A\s*Proof\s*\.(?=\s)|(?<=\s)Qed\s*\.\s*\Z", "", block).strip()

    def source(self, goal: Goal, proof: str, name: str) -> str:
        """Return the file that coqc gets: what Print Assumptions says stands behind a mark that no tactic printed."""
        binders = f" {goal.binders.strip()}" if goal.binders.strip() else ""
        statement = goal.statement.strip().removesuffix(".")
        return (
            f"{goal.preamble}\n\nTheorem {name}{binders} :\n{statement}.\nProof.\n{proof}\nQed.\n"
            f"Definition {_MARK}_{name} := tt.\nPrint {_MARK}_{name}.\nPrint Assumptions {name}.\n"
        )

    def check(self, source: str, place: Place) -> Result:
        """Run coqc; no configuration file is read and nothing but the file's own folder is searched."""
        program = find_program(self)
        installed = os.path.dirname(os.path.dirname(program))
        command = [program, "-q", "-noglob", "goal.v"]
        place = replace(place, readable=(*place.readable, installed, *FINDLIB))
        return run_programs(place, [Run(command)], {"goal.v": source})[0]

    def axioms_used(self, result: Result, name: str) -> list[str] | None:
        """Read what follows the mark: "Closed under the global context", or "Axioms:" and one unindented line each."""
        if not result.ended_well:
            return None
        _, mark, told = result.stdout.rpartition(f"{_MARK}_{name} = tt")
        lines = [line for line in told.splitlines()[2:] if line.strip() and not line.startswith(_NOTICE)]
        if not mark or not lines:
            return None
        if lines == ["Closed under the global context"]:
            return []
        if lines[0] != "Axioms:":
            return None
        # Some entries are sentences ("f is assumed to be guarded"): no allowed name is one of those.
        return [re.split(r"\s+:|:$", line)[0].strip() for line in lines[1:] if not line[0].isspace()]
