"""Which kills at which points: drawn from a seed, spread over the stages and kinds, each point within its stage."""

import random
from collections import defaultdict

from benchmarks.torture.points import Fault

REACH = 0.75
"""Share of a stage's points that kills are drawn from: a resumed stage has fewer than an untouched one."""
LONGEST_DELAY_S = 0.5


def schedule(points: dict[tuple[str, int], int], kinds: list[str], count: int, first: int, seed: int) -> list[Fault]:
    """Return `count` faults for one run; `points` are those of each (stage, rank) of the untouched run.

    Stages that train or draw take twice as many as others, kinds go round. Several faults of a stage meet its later
    attempts: each process of a stage takes the first one that has not happened yet.
    """
    rng = random.Random(seed)
    ranks: dict[str, list[int]] = defaultdict(list)
    for stage, rank in sorted(points):
        ranks[stage].append(rank)
    weights = {stage: 1 if stage == "base" or stage.startswith("evaluate") else 3 for stage in ranks}
    stages = rng.choices(list(weights), list(weights.values()), k=count)
    faults = []
    for place, stage in enumerate(stages):
        rank = rng.choice(ranks[stage])
        event = rng.randint(1, max(1, int(REACH * points[stage, rank])))
        delay_s = rng.choice([0.0, round(rng.uniform(0.0, LONGEST_DELAY_S), 3)])
        number = first + place
        faults.append(Fault(number, stage, rank, event, delay_s, kinds[number % len(kinds)]))
    return faults
