"""What a run generates and when, and what it tells."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.load.jobs import sources
from gateway.load.plan import BadPlan, Piece, Plan
from gateway.load.report import Outcome, Report, spread
from gateway.load.run import run


def test_the_same_seed_draws_the_same() -> None:
    weights = {"low": 3.0, "high": 1.0}
    first, again, other = (
        list(Plan(sources=5, count=400, priorities=weights, seed=seed).pieces())
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other
    drawn = Counter(piece.priority for piece in first)
    assert 2 < drawn["low"] / drawn["high"] < 4.5
    assert {piece.source for piece in first} == set(range(5))


def test_in_sequence_the_sources_come_in_turn() -> None:
    pieces = list(Plan(sources=3, count=7, sequence=True).pieces())
    assert [piece.source for piece in pieces] == [0, 1, 2, 0, 1, 2, 0]
    assert [piece.number for piece in pieces] == list(range(1, 8))


def test_a_rate_says_when_and_a_duration_how_long() -> None:
    pieces = list(Plan(duration=1.0, interval=0.25).pieces())
    assert [piece.due for piece in pieces] == [0, 0.25, 0.5, 0.75]
    assert len(list(Plan(duration=1.0, interval=0.25, count=2).pieces())) == 2
    endless = Plan(duration=1.0).pieces()
    assert [piece.due for piece in itertools.islice(endless, 1000)] == [0] * 1000


@pytest.mark.parametrize(
    "bad",
    [{}, {"count": 1, "sources": 0}, {"count": 1, "priorities": {"low": 0}},
     {"count": 1, "priorities": {"low": -1, "high": 2}}, {"count": 1, "priorities": {}}],
)  # fmt: skip
def test_a_bad_plan_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadPlan):
        Plan(**bad)


class Slow:
    """Takes its time; each worker's calls are counted."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began: list[float] = []
        self._pause = threading.Event()

    def prepare(self, piece: Piece) -> Callable[[], Outcome]:
        def act() -> Outcome:
            self.began.append(time.perf_counter())
            self._pause.wait(self.seconds)
            wrong = "odd" if piece.number % 2 else None
            return Outcome({"whole": [self.seconds]}, 10, wrong)

        return act


def test_a_run_keeps_its_times_and_counts() -> None:
    generator = Slow(0.01)
    report = run(Plan(count=6, interval=0.05), generator, workers=3)
    body = report.body()
    assert (body["generated"], body["failures"], body["bytes"]) == (6, 3, 60)
    assert body["errors"] == [{"reason": "odd", "count": 3}]
    assert body["seconds"] >= 0.25
    assert body["latency_ms"]["whole"]["p99"] == 10
    # Nothing begins before it is due.
    gaps = [at - generator.began[0] for at in sorted(generator.began)]
    assert all(gap >= 0.05 * number - 0.02 for number, gap in enumerate(gaps))


def test_a_target_too_slow_for_the_rate_shows_in_the_lag() -> None:
    body = run(Plan(count=6, interval=0.01), Slow(0.1), workers=1).body()
    assert body["latency_ms"]["whole"]["max"] == 100
    assert body["latency_ms"]["lag"]["max"] > 400


def test_a_duration_ends_a_run_without_a_rate() -> None:
    report = run(Plan(duration=0.2), Slow(0.02), workers=2)
    assert 2 <= report.done <= 22


def test_what_nobody_expected_ends_the_run() -> None:
    class Broken:
        def prepare(self, piece: Piece) -> Callable[[], Outcome]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Plan(duration=30), Broken(), workers=3)


def test_percentiles_by_nearest_rank() -> None:
    found = spread([n / 1000 for n in range(1, 101)])
    assert (found["count"], found["p50"], found["p95"], found["p99"], found["max"]) == (
        100, 50, 95, 99, 100,
    )  # fmt: skip
    assert spread([0.004])["p50"] == spread([0.004])["max"] == 4
    assert spread([]) == {"count": 0}


def test_a_report_keeps_few_reasons() -> None:
    report = Report()
    for number in range(1000):
        report.note(Outcome(error=f"reason {number}"), "normal", None)
    assert report.failures == 1000
    assert len(report.body()["errors"]) == 20


def test_sources_as_cpload_reads_them(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "x").write_bytes(b"x")
    (tmp_path / "a").write_bytes(b"a")

    def names(path: Path, *, recurse: bool) -> list[list[str]]:
        return [[name for _, name in one.files] for one in sources(path, recurse=recurse)]

    assert names(tmp_path, recurse=False) == [["a"]]
    assert names(tmp_path, recurse=True) == [["a"], ["deep/x"]]
    assert names(tmp_path / "a", recurse=False) == [["a"]]
    assert sources(None, recurse=False)[0].files == ()
    for path, recurse in ((tmp_path / "a", True), (tmp_path / "none", False)):
        with pytest.raises(Refused):
            sources(path, recurse=recurse)
    with pytest.raises(Refused, match="--recurse"):
        sources(tmp_path / "b", recurse=False)
