"""Small coding exercises in Exercism's layout, written for the tests, with right answers to them."""

import json
from collections.abc import Mapping
from pathlib import Path

PYTHON_TESTS = """
import unittest
from doubling import twice


class DoublingTest(unittest.TestCase):
    def test_of_two(self):
        self.assertEqual(twice(2), 4)

    def test_of_none(self):
        with self.assertRaises(ValueError):
            twice(None)
"""
C_TESTS = """
#include "src/doubling.h"
#include <stdio.h>

int main(void) {
    if (twice(2) != 4) { printf("twice(2) is %d\\n", twice(2)); return 1; }
    return 0;
}
"""
CPP_TESTS = C_TESTS.replace("src/doubling.h", "doubling.h").replace("twice(", "doubling::twice(")
JAVASCRIPT_TESTS = """
import test from "node:test";
import assert from "node:assert";
import { twice } from "./doubling.mjs";

test("of two", () => assert.equal(twice(2), 4));
test("of three", async () => assert.equal(await twice(3), 6));
"""
RUST_TESTS = """
use doubling::twice;

#[test]
fn of_two() { assert_eq!(twice(2), 4); }

#[test]
#[ignore]
fn of_three() { assert_eq!(twice(3), 6); }
"""

STUBS: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str]]] = {
    "python": ({"doubling.py": "def twice(x):\n    pass\n"}, {"doubling_test.py": PYTHON_TESTS}, {}),
    "c": (
        {"src/doubling.c": '#include "doubling.h"\n', "src/doubling.h": "int twice(int x);\n"},
        {"test_doubling.c": C_TESTS},
        {},
    ),
    "cpp": (
        {"doubling.cpp": '#include "doubling.h"\n', "doubling.h": "namespace doubling { int twice(int x); }\n"},
        {"doubling_test.cpp": CPP_TESTS},
        {},
    ),
    "javascript": (
        {"doubling.mjs": "export function twice(x) {}\n"},
        {"doubling.spec.mjs": JAVASCRIPT_TESTS},
        {"package.json": "{}"},
    ),
    "rust": (
        {"src/lib.rs": "pub fn twice(x: u32) -> u32 { todo!() }\n"},
        {"tests/doubling.rs": RUST_TESTS},
        {"Cargo.toml": '[package]\nname = "doubling"\nedition = "2021"\n\n[dependencies]\n'},
    ),
    "go": ({"doubling.go": "package doubling\n"}, {"doubling_test.go": "package doubling\n"}, {}),
}
"""Language -> (stubs, tests, other files) of the exercise "doubling"."""

RIGHT: dict[str, dict[str, str]] = {
    "python": {
        "doubling.py": "def twice(x):\n    if x is None:\n        raise ValueError('nothing')\n    return 2 * x\n"
    },
    "c": {"src/doubling.c": '#include "doubling.h"\nint twice(int x) { return 2 * x; }\n'},
    "cpp": {"doubling.cpp": '#include "doubling.h"\nint doubling::twice(int x) { return 2 * x; }\n'},
    "javascript": {"doubling.mjs": "export const twice = (x) => 2 * x;\n"},
    "rust": {"src/lib.rs": "pub fn twice(x: u32) -> u32 { 2 * x }\n"},
}


def write_exercise(folder: Path, language: str, name: str = "doubling", tests: Mapping[str, str] | None = None) -> Path:
    """Write the exercise of a language below `folder`, `tests` in place of its own; returns its folder."""
    solution, own, others = STUBS[language]
    tests = own if tests is None else tests
    home = folder / language / "exercises" / "practice" / name
    config = {"files": {"solution": list(solution), "test": list(tests), "example": [".meta/example"]}}
    files = {
        ".docs/instructions.md": "# Doubling\n\nWrite `twice`, which doubles a number.\n",
        ".meta/config.json": json.dumps(config),
        ".meta/example": "the example solution: SECRET\n",
        **solution,
        **tests,
        **others,
    }
    for path, text in files.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    return home
