"""How near a decoding step is to what the processor can do: FLOP/s and bytes a second of its products and of all of it.

    python -m benchmarks.decode_roofline [--rows N ...] [--threads N ...] [--repeats N] [--model NAME] [--json FILE]

One process, float32, weights packed as rollouts pack them. `products` runs every linear layer of the model once on so
many rows, `step` a whole forward pass of one token a row behind 128 cached ones. Bytes are those of the weights alone.
The peaks are measured first: a product of two 1024 x 1024 matrices, and reading 512 MB once.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.against_trl.cases import MODEL
from benchmarks.against_trl.table import machine, write_json

CONTEXT = 128
HEAD = (
    "| Rows | Threads | Products, ms | GFLOP/s (share of the peak) | GB/s (share of the peak) | Step, ms | "
    "Share of it in products |\n|---|---|---|---|---|---|---|"
)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The median time of `work` after one call that warms up."""
    work()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return median(spent)


def peaks(threads: int, repeats: int) -> tuple[float, float]:
    """(FLOP/s of a large product, bytes a second read) with so many threads."""
    import torch

    torch.set_num_threads(threads)
    square, long = torch.randn(1024, 1024), torch.ones(128 * 1024 * 1024)
    return 2 * 1024**3 / seconds(lambda: square @ square, 5 * repeats), 4 * long.numel() / seconds(long.sum, repeats)


def measure(model: Any, rows: int, threads: int, repeats: int) -> dict[str, float]:
    """Seconds of the products and of the step, and what the products compute and read."""
    import torch
    from torch import nn
    from transformers import DynamicCache

    from training.decode_cache import reserve
    from training.packed_linear import packed_linears

    torch.set_num_threads(threads)
    layers = [module for module in model.modules() if type(module) is nn.Linear]
    inputs = {width: torch.randn(rows, 1, width) for width in {layer.in_features for layer in layers}}
    numbers = sum(layer.weight.numel() for layer in layers)
    cache = DynamicCache(config=model.config)
    ids_RT = torch.randint(5, 1000, (rows, CONTEXT))

    def step() -> None:
        model(input_ids=ids_RT[:, :1], past_key_values=cache, use_cache=True)

    with torch.no_grad(), packed_linears(model):
        model(input_ids=ids_RT, past_key_values=cache, use_cache=True, logits_to_keep=1)
        reserve(cache)
        products = seconds(lambda: [layer(inputs[layer.in_features]) for layer in layers], repeats)
        return {
            "products_s": products,
            "step_s": seconds(step, repeats),
            "flops": 2.0 * rows * numbers,
            "bytes": 4.0 * numbers,
        }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    from training.bundled import materialise
    from training.models import load_policy

    model = load_policy(materialise(arguments.model.removeprefix("bundled:"))).eval()
    print(machine(), flush=True)
    limits = {threads: peaks(threads, arguments.repeats) for threads in arguments.threads}
    for threads, (flops, read) in limits.items():
        print(f"{threads} thread(s): {flops / 1e9:.0f} GFLOP/s, {read / 1e9:.1f} GB/s", flush=True)
    print(f"\n{HEAD}")
    found = []
    for rows in arguments.rows:
        for threads in arguments.threads:
            one = measure(model, rows, threads, arguments.repeats)
            found.append({"rows": rows, "threads": threads, **one})
            print(line(rows, threads, one, *limits[threads]), flush=True)
    write_json(arguments.json, peaks=limits, steps=found)


def line(rows: int, threads: int, one: dict[str, float], peak_flops: float, peak_read: float) -> str:
    """A row of the table."""
    flops, read = one["flops"] / one["products_s"], one["bytes"] / one["products_s"]
    return (
        f"| {rows} | {threads} | {1000 * one['products_s']:.0f} | {flops / 1e9:.0f} ({flops / peak_flops:.0%}) | "
        f"{read / 1e9:.1f} ({read / peak_read:.0%}) | {1000 * one['step_s']:.0f} | "
        f"{one['products_s'] / one['step_s']:.0%} |"
    )


if __name__ == "__main__":
    main()
