"""Completion tokens a second of one rank: our rollouts, the same from plain weights, and `generate()` as TRL calls it.

    python -m benchmarks.rollout_speed [--batch 16 64] [--length N] [--pairs N] [--model NAME] [--json FILE]

One process of one thread in float32. The sides take turns on the same prompts, eight draws of each, new prompts in
every turn, after a turn that warms up. Counted are tokens up to the end token, for seconds by the clock and on the
processor (which is what can be read on busy cores); packing the weights is in ours.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.against_trl.cases import MODEL, prompts
from benchmarks.against_trl.table import machine, write_json

DRAWS = 8
SIDES = ("ours", "plain weights", "generate()")
HEAD = (
    "| Completions together | Ours, tokens/s | From plain weights | `generate()` | Ours over `generate()`: median "
    "(lowest-highest) | The same in CPU seconds | Ours over plain weights, CPU |\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Bench:
    """A loaded model and the limit of a completion in tokens."""

    model: Any
    tokenizer: Any
    eos: set[int]
    length: int

    def ours(self, prompt_ids: list[list[int]], seed: int, packed: bool = True) -> list[list[int]]:
        """Draw as `training.grpo` does, with or without packed weights."""
        import torch

        from training.packed_linear import packed_linears
        from training.rollout import Sampling, generate

        with torch.no_grad(), packed_linears(self.model) if packed else nullcontext():
            return generate(self.model, prompt_ids, DRAWS, Sampling(self.length), self.eos, seed, batch_size=1 << 20)

    def trls(self, prompt_ids: list[list[int]], seed: int) -> list[list[int]]:
        """Draw as TRL 1.16's `GRPOTrainer._generate_single_turn` does at its defaults."""
        import torch
        from transformers import GenerationConfig
        from trl.trainer.utils import pad

        rows = [torch.tensor(ids) for ids in prompt_ids for _ in range(DRAWS)]
        config = GenerationConfig(
            max_new_tokens=self.length,
            do_sample=True,
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=self.tokenizer.bos_token_id,
            eos_token_id=sorted(self.eos),
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            disable_compile=True,
        )
        ids_RT = pad(rows, padding_value=self.tokenizer.pad_token_id, padding_side="left")
        mask_RT = pad([torch.ones_like(row) for row in rows], padding_value=0, padding_side="left")
        torch.manual_seed(seed)
        with torch.no_grad():
            drawn = self.model.generate(input_ids=ids_RT, attention_mask=mask_RT, generation_config=config)
        return [up_to_end(row, self.eos) for row in drawn[:, ids_RT.size(1) :].tolist()]

    def sides(self) -> dict[str, Callable[[list[list[int]], int], list[list[int]]]]:
        """What is compared."""
        return dict(zip(SIDES, (self.ours, lambda ids, seed: self.ours(ids, seed, False), self.trls), strict=True))


def up_to_end(tokens: list[int], eos: set[int]) -> list[int]:
    """The tokens up to the first that ends, itself included."""
    return tokens[: next((place + 1 for place, token in enumerate(tokens) if token in eos), len(tokens))]


def load(name: str, length: int) -> Bench:
    """Load a bundled model on one thread."""
    import torch

    from training.bundled import materialise
    from training.models import eos_ids, load_policy, load_tokenizer

    torch.set_num_threads(1)
    folder = materialise(name.removeprefix("bundled:"))
    model, tokenizer = load_policy(folder).eval(), load_tokenizer(folder)
    return Bench(model, tokenizer, eos_ids(model, tokenizer), length)


def turns(bench: Bench, batch: int, pairs: int) -> list[dict[str, dict[str, float]]]:
    """Tokens, seconds and CPU seconds of each side in each turn but the first; the order goes round."""
    from training.tokens import rendered_prompts

    count = max(1, batch // DRAWS)
    rows = [row["prompt"] for row in prompts(count * (pairs + 1))]
    encoded = rendered_prompts(rows, bench.tokenizer)
    found = []
    for turn in range(pairs + 1):
        own = encoded[turn * count : (turn + 1) * count]
        sides, measured = bench.sides(), {}
        for place in range(len(SIDES)):
            name = SIDES[(place + turn) % len(SIDES)]
            started, cpu = time.perf_counter(), time.process_time()
            tokens = sum(map(len, sides[name](own, turn)))
            spent = {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - cpu}
            measured[name] = {"tokens": float(tokens)} | spent
        found.append(measured)
    return found[1:]


def line(batch: int, found: list[dict[str, dict[str, float]]]) -> str:
    """A row of the table."""

    def rates(side: str, clock: str) -> list[float]:
        return [turn[side]["tokens"] / turn[side][clock] for turn in found]

    def over(other: str, clock: str) -> list[float]:
        return [a / b for a, b in zip(rates("ours", clock), rates(other, clock), strict=True)]

    def spread(ratios: list[float]) -> str:
        return f"{median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"

    shown = [f"{median(rates(side, 'seconds')):.1f}" for side in SIDES]
    ratios = [spread(over(*which)) for which in ((SIDES[2], "seconds"), (SIDES[2], "cpu_s"), (SIDES[1], "cpu_s"))]
    return f"| {' | '.join([str(batch), *shown, *ratios])} |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64], help="completions drawn together")
    parser.add_argument("--length", type=int, default=96, help="most tokens of a completion")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--json", type=Path, help="write every turn's numbers here")
    arguments = parser.parse_args()
    bench = load(arguments.model, arguments.length)
    print(f"{machine()}\n\n{HEAD}", flush=True)
    results = {}
    for batch in arguments.batch:
        results[batch] = turns(bench, batch, arguments.pairs)
        print(line(batch, results[batch]), flush=True)
    write_json(arguments.json, turns=results)


if __name__ == "__main__":
    main()
