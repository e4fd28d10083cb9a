"""The four conditions of completion, at their very instants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.config.applications import CompleteWhen
from gateway.payloads.completion import Feed, Open, Reason, due, next_due

OPEN = Open(
    instances=3,
    expected=None,
    opened_at=100.0,
    last_received_at=110.0,
    feeds=(Feed("OPEN", 112.0),),
)


def test_quiet_counts_from_the_last_byte_of_any_feeding_association() -> None:
    when = CompleteWhen(quiet_seconds=5)
    assert due(OPEN, when, 116.9) is None
    assert due(OPEN, when, 117.0) is Reason.QUIET
    assert next_due(OPEN, when) == 117.0


def test_quiet_off_waits_for_the_maximum() -> None:
    when = CompleteWhen(quiet_seconds=None, max_wait_seconds=60)
    assert due(OPEN, when, 159.9) is None
    assert due(OPEN, when, 160.0) is Reason.MAX_WAIT


def test_the_maximum_holds_while_images_still_arrive() -> None:
    busy = replace(OPEN, last_received_at=4000.0)
    assert due(busy, CompleteWhen(max_wait_seconds=3600), 3700.0) is Reason.MAX_WAIT


@pytest.mark.parametrize(("count", "reason"), [(3, Reason.COUNT), (4, None)])
def test_count(count: int, reason: Reason | None) -> None:
    assert due(OPEN, CompleteWhen(instances=count), 112.5) is reason


@pytest.mark.parametrize(
    ("expected", "reason"), [(3, Reason.TAG), (4, None), (None, None)], ids=str
)
def test_tag(expected: int | None, reason: Reason | None) -> None:
    payload = replace(OPEN, expected=expected)
    assert due(payload, CompleteWhen(instances="tag"), 112.5) is reason


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["RELEASED", "RELEASED"], Reason.RELEASED),
        (["RELEASED", "OPEN"], None),
        (["RELEASED", "ABORTED"], None),
        ([], None),
    ],
    ids=str,
)
def test_released(states: list[str], reason: Reason | None) -> None:
    payload = replace(OPEN, feeds=tuple(Feed(state, None) for state in states))
    assert due(payload, CompleteWhen(association_released=True), 112.5) is reason


def test_an_abort_is_quiet() -> None:
    payload = replace(OPEN, feeds=(Feed("ABORTED", None),))
    when = CompleteWhen(association_released=True, quiet_seconds=5)
    assert due(payload, when, 115.0) is Reason.QUIET
