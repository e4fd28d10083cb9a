"""Ten thousand queued jobs on eight devices, by the real decision on a clock of its own."""

from __future__ import annotations

import statistics
import sys
from collections import Counter

import pytest

from gateway.jobs.decision import IMMEDIATE, WEIGHTS
from tests.support.queue_sim import Outcome, Simulation, dice, job, shares

JOBS = 10_000


def say(*words: object) -> None:
    """Print; ``pytest -s`` and make prove show it."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def _say(name: str, outcome: Outcome) -> None:
    longest = max(outcome.waits.values())
    say(
        f"\n{name}: {len(outcome.starts)} starts in {outcome.starts[-1][0] / 3600:.1f} h, "
        f"devices {outcome.use:.1%} busy under the backlog, longest wait {longest / 3600:.1f} h, "
        f"decision median {statistics.median(outcome.decisions) * 1000:.2f} ms"
    )


def test_a_backlog_of_ten_thousand_jobs() -> None:
    rng = dice(7)
    waiting = [job(number, rng, rng.choice((1, 2, 3))) for number in range(JOBS)]
    outcome = Simulation(waiting, rng).run()
    _say("backlog", outcome)
    assert len(outcome.starts) == JOBS
    assert outcome.use >= 0.95
    queued = Counter(each.priority for each in waiting)
    found = shares(outcome, dict(WEIGHTS), queued)
    say("shares over weights:", {p: round(share, 3) for p, share in found.items()})
    assert all(abs(share - 1) <= 0.05 for share in found.values())
    # Nobody waits longer than all the work there was takes, were it done one after another.
    work = sum(each.need.gpus * each.seconds for each in waiting) / 8
    assert max(outcome.waits.values()) <= work


@pytest.mark.parametrize("seed", [1])
def test_immediate_jobs_among_ten_thousand_wait_for_nobody_else(seed: int) -> None:
    rng = dice(seed)
    waiting = [job(n, rng, rng.choice((1, 2, 3))) for n in range(JOBS - 500)]
    waiting += [
        job(n, rng, IMMEDIATE, since=rng.uniform(0, 200_000)) for n in range(JOBS - 500, JOBS)
    ]
    outcome = Simulation(waiting, rng).run()
    _say("with IMMEDIATE jobs", outcome)
    assert outcome.unfair == [], "started on what an IMMEDIATE job waited for"
    urgent = [outcome.waits[each.job_id] for each in waiting if each.priority == IMMEDIATE]
    longest = max(each.seconds for each in waiting)
    say(f"longest wait of an IMMEDIATE job: {max(urgent):.0f} s")
    # Only running jobs, which are not preempted, and other IMMEDIATE ones keep it waiting.
    assert max(urgent) <= 3 * longest
