"""How long a scheduling decision takes at 10 000 queued jobs.

Prints the median and the 99th percentile.  The machine is full and one job ends per decision,
which is what a scheduler under a backlog sees.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path

# The queue is the one of the simulation in the tests.
sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.queue_sim import Simulation, job

QUEUED = 10_000
LIMIT_MS = 2.0


def decisions(rounds: int, seed: int) -> list[float]:
    """Milliseconds of ``rounds`` decisions, the queue kept at :data:`QUEUED` jobs."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    simulation = Simulation((), rng)
    for number in range(QUEUED):
        simulation.backlog.add(job(number, rng, rng.choice((1, 2, 3)), since=float(number)))
    number = QUEUED
    simulation.decide()
    simulation.outcome.decisions.clear()
    for _ in range(rounds):
        simulation.now += 1.0
        del simulation.running[rng.choice(list(simulation.running))]
        for _start in simulation.decide():
            simulation.backlog.add(job(number, rng, rng.choice((1, 2, 3)), since=float(number)))
            number += 1
    return [seconds * 1000 for seconds in simulation.outcome.decisions]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    times = sorted(decisions(arguments.rounds, arguments.seed))
    p99 = times[int(len(times) * 0.99)]
    print(
        f"decision at {QUEUED} queued: median {statistics.median(times):.3f} ms, "
        f"99 % below {p99:.3f} ms, limit {LIMIT_MS:g} ms"
    )


if __name__ == "__main__":
    main()
