"""Proofs that Coq decides: (statement, proof, expected, why), with a preamble and allowed axioms where they matter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Script:
    """One proof and what it must earn; `parameters` are the reward's."""

    why: str
    expected: float
    statement: str
    proof: str
    preamble: str = ""
    binders: str = ""
    axioms: tuple[str, ...] | None = None
    timeout_s: int = 30


LIA = "Require Import Lia."
CLASSICAL = "Require Import Classical."
# A false statement whose proof would be accepted by a kernel that does not check recursion.
LOOP = "Unset Guard Checking.\nFixpoint loop (n : nat) : False := loop n.\nSet Guard Checking."
HYPOTHESIS = "Axiom given : forall n : nat, n = n + 0 -> False."

SCRIPTS = [
    Script(
        "true, by tactics",
        1.0,
        "forall a b : nat, a + b = b + a",
        "intros a b. induction a; simpl.\n- induction b; simpl; auto.\n- rewrite IHa. auto.",
    ),
    Script("true, with Proof and Qed written out", 1.0, "True", "Proof.\n  exact I.\nQed."),
    Script("true, over a library", 1.0, "forall n m : nat, n < m -> n + 1 <= m", "intros. lia.", LIA),
    Script("true, with binders", 1.0, "a = a", "reflexivity.", binders="(a : nat)"),
    Script(
        "true, with goals named and braces",
        1.0,
        "True /\\ True",
        "split.\n2: exact I.\n{ exact I. }",
    ),
    Script("true, a term", 1.0, "forall P : Prop, P -> P", "exact (fun P p => p)."),
    Script("true, a comment that names what is refused", 1.0, "True", "(* no Axiom, nothing Admitted *) exact I."),
    Script(
        "true, over an axiom that is allowed",
        1.0,
        "forall P : Prop, P \\/ ~ P",
        "exact classic.",
        CLASSICAL,
        axioms=("Coq.Logic.Classical_Prop.classic", "classic"),
    ),
    Script("an axiom that is not allowed", 0.0, "forall P : Prop, P \\/ ~ P", "exact classic.", CLASSICAL),
    Script("an axiom of the preamble", 0.0, "False", "apply (given 0). reflexivity.", HYPOTHESIS),
    Script("recursion that nobody checked, from the preamble", 0.0, "False", "exact (loop 0).", LOOP),
    Script("false", 0.0, "forall n : nat, n = n + 1", "intros n. lia.", LIA),
    Script("true, but not proved by this", 0.0, "forall a b : nat, a + b = b + a", "intros. reflexivity."),
    Script("a goal is left", 0.0, "True /\\ True", "split. exact I."),
    Script("a goal is put aside", 0.0, "True /\\ False", "split. exact I. Unshelve."),
    Script("a hole", 0.0, "exists n : nat, n = 1 /\\ False", "eexists. split. reflexivity."),
    Script(
        "a lie in capitals: what Print Assumptions would say", 0.0, "False", "idtac. exact (False_ind _ ltac:(fail))."
    ),
    Script("a guess at the theorem's name", 0.0, "False", "exact posttrain_goal."),
    Script("the statement shadowed by a local definition", 0.0, "False", "pose (False := True). exact I."),
    Script("a cast that is checked too late", 0.0, "False", "refine (I <: False)."),
    Script("a universe trick", 0.0, "False", "exact ((fun (A : Type) (a : A) => a) Type I)."),
    Script("unbounded recursion in a tactic", 0.0, "False", "let rec f := f in f."),
    Script("never ends", 0.0, "True", "do 1000000000 (assert (2 ^ 20 = 2 ^ 20) by reflexivity). exact I.", timeout_s=2),
    Script(
        "too much memory", 0.0, "True", "assert (2 ^ 28 = 2 ^ 28) by (vm_compute; reflexivity). exact I.", timeout_s=3
    ),
    Script("no syntax", 0.0, "True", "exact (I."),
    Script("prose", 0.0, "True", "we simply observe that it is true."),
]
