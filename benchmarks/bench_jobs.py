"""What a pipeline's start costs, how long a decision takes, and how fast jobs are submitted.

The start: chains of one and of six operators on the warm process executor, with the cold one as the
peer of the same run; see :mod:`start_overhead`.

The decision: median and 99th percentile of the processor time, with the machine full and one job
ending per decision, which is what a scheduler under a backlog sees.  The table: a database with
100 000 jobs, 10 000 of them queued; reading the queue for a decision, and submissions a second,
one transaction each and 50 in one (as a router or a busy client makes them).
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

# The queue is the one of the simulation in the tests.
sys.path.insert(0, str(Path(__file__).parent.parent))

from start_overhead import measure
from submissions import submitted

from gateway.config.settings import JobSettings
from gateway.database import schema
from gateway.database.engine import Database, sqlite_url
from gateway.jobs.backlog import Backlog, Waiting
from gateway.jobs.creation import JobCreation, NewJob
from gateway.jobs.decision import Rules, plan
from gateway.jobs.shares import History
from gateway.jobs.snapshot import snapshot
from gateway.pipelines import registry
from tests.support.queue_sim import MACHINE, PIPELINES, Simulation, job

QUEUED = 10_000
ROWS = 100_000
LIMIT_MS = 2.0
DOCUMENT = """
api-version: 0.4.0
name: {name}
timeout: {s}
operators:
- name: work
  container: {{image: shell, command: [/bin/true]}}
  requests: {{cpu: {cpu}, memory: {memory}}}
  input: [{{path: /input}}]
  output: [{{path: /output}}]
"""


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


def table(folder: Path) -> Database:
    """A database with :data:`ROWS` jobs, :data:`QUEUED` of them waiting in the mix."""
    database = Database(sqlite_url(folder / "gateway.db"))
    database.create()
    rng = random.Random(1)  # noqa: S311 - no secret
    with database.begin() as connection:
        ids = {}
        for name, (need, seconds) in PIPELINES.items():
            document = DOCUMENT.format(name=name, cpu=need.cpu, memory=need.memory_mb, s=seconds)
            ids[name] = registry.register(connection, document, f"{name}.yaml").id
        rows = [_row(job(n, rng, rng.choice((1, 2, 3))), n, ids) for n in range(ROWS)]
        connection.execute(sa.insert(schema.jobs), rows)
    return database


def _row(waiting: Waiting, number: int, ids: dict[str, str]) -> dict[str, Any]:
    queued = number < QUEUED
    return {
        "id": schema.new_id(), "correlation_id": "c" * 32, "name": f"job-{number}",
        "pipeline_id": ids[waiting.pipeline], "payload_id": schema.new_id(),
        "called_ae": waiting.application, "selected": [], "priority": waiting.priority,
        "state": "PENDING" if queued else "STOPPED", "status": "HEALTHY", "variables": {},
        "destinations": [], "metadata": {}, "cpu": waiting.need.cpu, "notes": [],
        "memory_mb": waiting.need.memory_mb, "gpus": waiting.need.gpus,
        "timeout_seconds": waiting.seconds, "created_at": float(number),
        "queued_at": float(number),
    }  # fmt: skip


def look_ms(database: Database, rounds: int) -> float:
    """Median milliseconds of reading the queue and deciding."""
    rules, times = Rules(), []
    for _ in range(rounds):
        begin = time.perf_counter()
        with database.read() as connection:
            seen = snapshot(connection, "node", 25.0, time.time())
        plan(Backlog(seen.waiting), seen.running, MACHINE, rules, History(), time.time())
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def submissions(database: Database, count: int, together: int) -> float:
    """Jobs made a second, ``together`` in one transaction."""
    creation = JobCreation(capacity=MACHINE, limits=JobSettings())
    names = list(PIPELINES)
    begin = time.perf_counter()
    for first in range(0, count, together):
        with database.begin() as connection:
            for number in range(first, first + together):
                new = NewJob("c" * 32, names[number % len(names)], called_ae="AE1")
                creation.create(connection, new)
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--submissions", type=int, default=2000)
    parser.add_argument("--starts", type=int, default=5, help="jobs of each kind")
    parser.add_argument("--seconds", type=float, default=0.3, help="what an operator takes")
    arguments = parser.parse_args()
    times = sorted(decisions(arguments.rounds, arguments.seed))
    p99 = times[int(len(times) * 0.99)]
    print(
        f"decision at {QUEUED} queued: median {statistics.median(times):.3f} ms, "
        f"99 % below {p99:.3f} ms, limit {LIMIT_MS:g} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        database = table(Path(folder))
        print(
            f"queue of {QUEUED} read from {ROWS} jobs and decided: {look_ms(database, 20):.0f} ms"
        )
        for together in (1, 50):
            rate = submissions(database, 1000, together)
            print(f"submissions, {together} in a transaction: {rate:.0f} jobs/s, aim 500 jobs/s")
        database.close()
    with tempfile.TemporaryDirectory() as folder:
        submitted(Path(folder), arguments.submissions)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.starts, arguments.seconds)


if __name__ == "__main__":
    main()
