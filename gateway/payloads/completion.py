"""When a payload is complete: the contract's four conditions, as pure functions.

The instant at which each condition holds is computed, so the assembler can sleep until the next
one; the reason recorded is the condition that held first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.config.applications import CompleteWhen


class Reason(StrEnum):
    """Why a revision counts as complete."""

    COUNT = "count"
    TAG = "tag"
    RELEASED = "released"
    QUIET = "quiet"
    MAX_WAIT = "max-wait"


@dataclass(frozen=True)
class Feed:
    """One association that fed the open revision."""

    state: str
    """OPEN, RELEASED or ABORTED."""
    last_byte: float | None
    """When it last sent a byte; None when it is not open in this process."""


@dataclass(frozen=True)
class Open:
    """A payload in RECEIVING, as the conditions see it; times in seconds since the epoch."""

    instances: int
    expected: int | None
    opened_at: float
    last_received_at: float
    feeds: tuple[Feed, ...]


def due(payload: Open, when: CompleteWhen, now: float) -> Reason | None:
    """The first condition that holds at ``now``, or None."""
    held = [(at, reason) for at, reason in conditions(payload, when) if at <= now]
    return min(held)[1] if held else None


def next_due(payload: Open, when: CompleteWhen) -> float:
    """When the first condition will hold if nothing more arrives."""
    return min(at for at, _ in conditions(payload, when))


def conditions(payload: Open, when: CompleteWhen) -> Iterable[tuple[float, Reason]]:
    """Each condition that is on, with the instant at which it holds."""
    yield payload.opened_at + when.max_wait_seconds, Reason.MAX_WAIT
    if when.quiet_seconds is not None:
        yield _last_sign(payload) + when.quiet_seconds, Reason.QUIET
    if isinstance(when.instances, int) and payload.instances >= when.instances:
        yield payload.last_received_at, Reason.COUNT
    if (
        when.instances == "tag"
        and payload.expected is not None
        and payload.instances >= payload.expected
    ):
        yield payload.last_received_at, Reason.TAG
    if when.association_released and _all_released(payload):
        yield payload.last_received_at, Reason.RELEASED


def _last_sign(payload: Open) -> float:
    """The last byte on any association that fed the group."""
    return max(
        [payload.last_received_at]
        + [feed.last_byte for feed in payload.feeds if feed.last_byte is not None]
    )


def _all_released(payload: Open) -> bool:
    """An abort is quiet, not release: the sender may come back with the rest."""
    return bool(payload.feeds) and all(feed.state == "RELEASED" for feed in payload.feeds)
