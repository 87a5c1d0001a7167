"""A stand-in for `lean`, which no package of ours can bring: it replays diagnostics in the form that Lean prints them.

Lines, fields and wording are those of `lean --json` as public projects have recorded them (Lean 4.19 to 4.33); only the
theorem's name and the line numbers are put in. It decides nothing: the proof's first word says which recording to play.
"""

import json
import os
import sys
import time

INFORMATION, WARNING, ERROR = "information", "warning", "error"
# First word of the proof: (exit code, [(severity, kind, text)]); {name} is the theorem.
RECORDED = {
    "rfl": (0, [(INFORMATION, "[anonymous]", "'{name}' does not depend on any axioms")]),
    "omega": (0, [(INFORMATION, "[anonymous]", "'{name}' depends on axioms: [propext, Quot.sound]")]),
    "tauto": (
        0,
        [
            (WARNING, "linter.unusedVariables", "unused variable `h`"),
            (INFORMATION, "[anonymous]", "'{name}' depends on axioms: [propext, Classical.choice, Quot.sound]"),
        ],
    ),
    "exact?": (
        0,
        [
            (WARNING, "hasSorry", "declaration uses `sorry`"),
            (INFORMATION, "[anonymous]", "'{name}' depends on axioms: [sorryAx]"),
        ],
    ),
    "decide": (0, [(INFORMATION, "[anonymous]", "'{name}' depends on axioms: [{name}._nativeDecide_1_1]")]),
    "bv_decide": (0, [(INFORMATION, "[anonymous]", "'{name}' depends on axioms: [propext, Lean.ofReduceBool]")]),
    "exact": (
        1,
        [
            (ERROR, "lean.unknownIdentifier._namedError", "Unknown identifier `nothing`"),
            (INFORMATION, "[anonymous]", "'{name}' depends on axioms: [sorryAx]"),
        ],
    ),
    "simp": (1, [(ERROR, "[anonymous]", "`simp` made no progress")]),
    "trace": (
        0,
        [
            (INFORMATION, "[anonymous]", "'{name}' does not depend on any axioms"),
            (INFORMATION, "[anonymous]", "'{name}' depends on axioms: [sorryAx]"),
        ],
    ),
    "quiet": (0, []),
}


def main() -> int:
    if sys.argv[1:] == ["--print-prefix"]:
        print(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        return 0
    option, path = sys.argv[1:]
    assert option == "--json"
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    name = lines[-1].removeprefix("#print axioms ")
    first = next(number for number, line in enumerate(lines) if line.endswith(":= by"))
    word = lines[first + 1].split()[0]
    if word == "repeat":
        time.sleep(600)
    code, messages = RECORDED[word]
    for severity, kind, text in messages:
        line = len(lines) if "axioms" in text else first + 2
        place = {"pos": {"line": line, "column": 0}, "endPos": {"line": line, "column": 6}}
        told = {"severity": severity, "kind": kind, "data": text.replace("{name}", name), "fileName": path, **place}
        print(json.dumps({**told, "caption": "", "isSilent": False, "keepFullRange": False}, ensure_ascii=False))
    return code


if __name__ == "__main__":
    sys.exit(main())
