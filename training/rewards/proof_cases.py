"""Golden cases of reward `proof` that need no checker: what is refused before one is asked.

Those that a checker decides are in `tests/proof_scripts.py`.
"""

from training.rewards.cases import Case

FALSE_COQ = {"statement": "False"}
FALSE_LEAN = {"statement": "False"}


def _coq(script: str, why: str) -> Case:
    return Case(f"```coq\n{script}\n```", 0.0, why, columns=FALSE_COQ, parameters={"backend": "coq"})


def _lean(script: str, why: str) -> Case:
    return Case(f"```lean\n{script}\n```", 0.0, why, columns=FALSE_LEAN, parameters={"backend": "lean"})


CASES = [
    Case("```coq\nexact I.\n```", None, "no statement", columns={"statement": None}, parameters={"backend": "coq"}),
    Case("It follows.\n```coq\n\n```", 0.0, "no proof", columns=FALSE_COQ, parameters={"backend": "coq"}),
    Case("```coq\nexact I.", 0.0, "cut off", columns=FALSE_COQ, parameters={"backend": "coq"}),
    Case("```python\nexact I.\n```", 0.0, "another language", columns=FALSE_COQ, parameters={"backend": "coq"}),
    _coq("Admitted.", "coq: Admitted"),
    _coq("admit.", "coq: admit"),
    _coq("give_up.", "coq: give_up"),
    _coq("Abort. Axiom x : False. Theorem y : False. exact x.", "coq: the proof left and an axiom taken"),
    _coq("auto. Qed. Axiom cheat : False. Lemma z : True. auto.", "coq: closed early and reopened"),
    _coq("Parameter p : False. exact p.", "coq: Parameter"),
    _coq("Conjecture c : False. exact c.", "coq: Conjecture"),
    _coq("Variable v : False. exact v.", "coq: Variable"),
    _coq("Unset Guard Checking. exact I.", "coq: guard checking off"),
    _coq("Unset Universe Checking. exact I.", "coq: universe checking off"),
    _coq("#[bypass_check(guard)] Definition f := 0.", "coq: an attribute"),
    _coq("Notation \"'False'\" := True. exact I.", "coq: a notation over the statement"),
    _coq("Local Notation False := True. exact I.", "coq: an abbreviation over the statement"),
    _coq("exact I. (* ", "coq: a comment that swallows the end"),
    _coq("exact I. *) Admitted. (* x *)", "coq: a comment closed that was never opened"),
    _coq("(* (* *) Admitted. *) Admitted.", "coq: nested comments around an escape"),
    _coq('idtac "(*". Admitted. idtac "*)".', "coq: a comment sign in a string"),
    _coq("{ Admitted. }", "coq: an escape behind a brace"),
    _coq("1: { } - Axiom a : False.", "coq: an escape behind a goal, braces and a bullet"),
    _coq("Load hidden. exact I.", "coq: another file loaded"),
    _coq('Declare ML Module "evil".', "coq: a plugin"),
    _coq('Redirect "/tmp/x" Print nat.', "coq: a file written"),
    _coq("Fail Fail Axiom a : False.", "coq: a command behind control words"),
    _coq("Drop.", "coq: out of the checker"),
    _coq("native_compute. exact I.", "coq: the compiler"),
    _coq("exact I", "coq: the last tactic swallows the harness's Qed"),
    _coq("Theorem again : True. exact I.", "coq: a statement of its own"),
    _lean("sorry", "lean: sorry"),
    _lean("exact sorryAx _ true", "lean: the axiom behind sorry"),
    _lean("admit", "lean: admit"),
    _lean("native_decide", "lean: native_decide"),
    _lean("decide +native", "lean: native_decide by its option"),
    _lean("trivial\naxiom cheat : False\ntheorem x : False := cheat", "lean: closed early, and an axiom"),
    _lean("run_tac (pure ())", "lean: code run while the proof is read"),
    _lean("set_option debug.skipKernelTC true in exact bad", "lean: the kernel left out"),
    _lean("exact x\n@[implemented_by y] def x : Nat := 0", "lean: an attribute"),
    _lean("exact unsafe x", "lean: unsafe"),
    _lean("trivial\nmacro_rules | `(tactic| foo) => `(tactic| skip)", "lean: syntax redefined"),
    _lean('notation "False" => True', "lean: a notation over the statement"),
    _lean("trivial\n#eval 1", "lean: a command"),
    _lean("trivial /- ", "lean: a comment that swallows the end"),
    _lean("exact «sorry»", "lean: a name in guillemets"),
    _lean("stop\nexact x", "lean: the rest of the proof left out"),
    _lean("trivial\nend X\nnamespace Y", "lean: another namespace"),
    _lean("trivial\ninstance : Decidable False := isTrue x", "lean: an instance"),
    _lean("trivial --\x20\nattribute [simp] x", "lean: an escape behind a comment"),
    _lean("trivial<--axiom x : False", "lean: a comment sign inside a longer token hides nothing"),
]
