"""Reward `proof`: does the model's proof prove the row's statement? Checked by Coq or Lean, in the sandbox.

The data give the statement (columns `statement`, and where needed `preamble` with imports and definitions and `binders`
that stand before the statement's colon); the model gives the proof alone: the last closed ```coq or ```lean block of
what it says beside its thinking, or all of it where there is no fence. A proof earns 1.0 when

1. it holds nothing but a proof script: no command, no way to leave a hole, no way around the kernel (`proof_coq`,
   `proof_lean` list what they refuse);
2. the checker accepts it for the statement as the harness wrote it, under a name drawn anew for each check;
3. the axioms it rests on, as the checker prints them, are all among the allowed.

Everything else earns 0.0, running out of time or memory too.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.code_execution import check_number
from training.rewards.extract import visible_text
from training.rewards.fenced import has_fence, last_block
from training.rewards.proof_backend import Backend, Goal, find_program
from training.rewards.proof_coq import Coq
from training.rewards.proof_lean import Lean
from training.sandbox.levels import check_level, require_level
from training.sandbox.runner import MOST_WAITING, Limits, Place

BACKENDS: dict[str, Backend] = {"coq": Coq(), "lean": Lean()}

PARAMETERS = {"backend": None, "timeout_s": 30, "memory_mb": 4096, "axioms": None, "sandbox": "namespaces"}
MAX_TIMEOUT_S, MIN_MEMORY_MB = 300, 256
TIME_LIMIT_S = (1 + MOST_WAITING) * 2.0 * MAX_TIMEOUT_S + 60.0
"""When a worker counts as stuck: beyond every limit that the sandbox keeps itself."""

THREADS = 256


def proof(
    completions: list[str],
    prompts: list[str],
    statement: list[Any],
    backend: str,
    timeout_s: float = 30,
    memory_mb: int = 4096,
    axioms: list[str] | None = None,
    sandbox: str = "namespaces",
    preamble: list[Any] | None = None,
    binders: list[Any] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Return 1.0 where the completion proves the column `statement`, 0.0 where not, None where it is null.

    `axioms` None allows those of the backend's own foundation. Raises UserError where the checker is not installed or
    this machine cannot give the sandbox level, SandboxError where the sandbox fails.
    """
    checker = BACKENDS[backend]
    limits = Limits(cpu_s=timeout_s, total_s=2 * timeout_s + 2, memory_mb=memory_mb, threads=THREADS)
    allowed = frozenset(checker.axioms if axioms is None else axioms)
    scores: list[float | None] = []
    for row, (completion, given) in enumerate(zip(completions, statement, strict=True)):
        goal = Goal(str(given), _text(preamble, row), _text(binders, row))
        proves = given is not None and _proves(completion, goal, backend, Place(sandbox, limits), allowed)
        scores.append(None if given is None else float(proves))
    return scores


def check_proof(parameters: Mapping[str, Any]) -> None:
    """Raise UserError for an unknown backend or level, limits out of range, and axioms that are no list of names."""
    backend, axioms = parameters["backend"], parameters["axioms"]
    if backend not in BACKENDS:
        raise UserError(f"reward proof: backend={backend!r} is not accepted; use {' or '.join(BACKENDS)}")
    check_number("proof", parameters, "timeout_s", 1, MAX_TIMEOUT_S)
    check_number("proof", parameters, "memory_mb", MIN_MEMORY_MB, None)
    is_list = isinstance(axioms, list | tuple) and all(isinstance(each, str) for each in axioms)
    if axioms is not None and not is_list:
        raise UserError(
            f"reward proof: axioms={axioms!r} is not accepted; give a list of names, as Coq or Lean prints them"
        )
    check_level("proof", parameters["sandbox"])


def require_proof(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless this machine has the checker and can give the sandbox level."""

    find_program(BACKENDS[parameters["backend"]])
    require_level("proof", parameters["sandbox"])


def refusal(completion: str, backend: str) -> str | None:
    """Return why a completion holds no proof script, None where the checker must decide."""
    script = _script(completion, BACKENDS[backend])
    return "no proof" if script is None else BACKENDS[backend].refusal(script)


def _proves(completion: str, goal: Goal, backend: str, place: Place, allowed: frozenset[str]) -> bool:
    checker = BACKENDS[backend]
    script = _script(completion, checker)
    if script is None or checker.refusal(script) is not None:
        return False
    require_proof({"backend": backend, "sandbox": place.level})
    name = f"posttrain_{secrets.token_hex(8)}"
    result = checker.check(checker.source(goal, script, name), place)
    used = checker.axioms_used(result, name)
    return used is not None and all(axiom in allowed for axiom in used)


def _script(completion: str, checker: Backend) -> str | None:
    text = visible_text(completion, prompt="")
    block = last_block(text, checker.languages)
    if block is None and not has_fence(text):
        block = text
    script = checker.text_of(block) if block else ""
    return script if script.strip() else None


def _text(column: list[Any] | None, row: int) -> str:
    return "" if column is None or column[row] is None else str(column[row])
