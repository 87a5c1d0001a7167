"""Rows per second and peak memory of exact dedup, near dedup and decontamination, and how they grow with the rows.

    python benchmarks/data_cleaning.py [--rows 10000 30000 100000] [--words 200] [--processes 2]

The rows are made here: words drawn with Zipf's law, one row in ten a copy of an earlier one with 2 % of its words
changed, one in a hundred an exact copy, one in a thousand holding an item of a suite of 1,000. Each figure is taken in
a process of its own; memory is the largest resident set of that process plus that of its children.
"""

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import time
from itertools import accumulate

from data.contamination import Reference, Rule, contaminated
from data.dedup import exact_duplicates
from data.near_dedup import near_duplicates

TARGET_S = {"exact dedup": 10, "near dedup": 120, "decontamination": 120}
LETTERS = "etaoinshrdlucmfwypvbgk"
ITEMS = 1000


def make_rows(count: int, words: int, seed: int = 0) -> tuple[list[list[str]], list[Reference]]:
    """Return rows of one segment of `words` words, and the items of the suite."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices(LETTERS, k=rng.randint(2, 9))) for _ in range(30_000)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(vocabulary))))
    items = [" ".join(rng.choices(vocabulary, cum_weights=weights, k=40)) for _ in range(ITEMS)]
    rows: list[list[str]] = []
    for number in range(count):
        if number % 100 == 99:
            rows.append(list(rng.choice(rows)))
        elif number % 10 == 9:
            changed = rng.choice(rows)[0].split()
            for place in rng.sample(range(words), words // 50):
                changed[place] = rng.choice(vocabulary)
            rows.append([" ".join(changed)])
        else:
            text = rng.choices(vocabulary, cum_weights=weights, k=words)
            if number % 1000 == 500:
                text[20:60] = rng.choice(items).split()
            rows.append([" ".join(text)])
    return rows, [Reference("suite", str(number), text) for number, text in enumerate(items)]


def measure(method: str, count: int, words: int, processes: int) -> dict[str, float]:
    """Run one method over `count` rows; seconds, rows found and peak memory in GB."""
    rows, references = make_rows(count, words)
    run = {
        "exact dedup": lambda: exact_duplicates(rows),
        "near dedup": lambda: near_duplicates(rows, 0.8, processes),
        "decontamination": lambda: contaminated(rows, references, Rule()),
    }[method]
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if method == "near dedup":
        kilobytes += processes * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": seconds, "found": len({match.row for match in found}), "gb": kilobytes / 1e6}


def main() -> None:
    """Print one table row per method and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, arguments.rows[0], arguments.words, arguments.processes)))
        return
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {arguments.words} words")
    print("| method | rows | seconds | rows/s | peak GB | rows found | growth |\n|---|---|---|---|---|---|---|")
    for method in TARGET_S:
        before: tuple[int, float] | None = None
        for count in arguments.rows:
            command = [sys.executable, __file__, "--one", method, "--rows", str(count)]
            command += ["--words", str(arguments.words), "--processes", str(arguments.processes)]
            got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds = got["seconds"]
            growth = "" if before is None else f"{seconds / before[1]:.1f}x time for {count / before[0]:.1f}x rows"
            cells = [method, f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{got['gb']:.2f}"]
            print("| " + " | ".join([*cells, str(got["found"]), growth]) + " |", flush=True)
            before = count, seconds


if __name__ == "__main__":
    main()
