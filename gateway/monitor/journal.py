"""The log line of every event: what was committed, in its order, with one correlation id.

Rooms record events in the transaction of the change; this worker reads them back and logs each
once.  So a log line never tells of something that was rolled back, and grep on a correlation id
shows a study's way from association to delivery.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from gateway.database.engine import Database
from gateway.database.schema import events
from gateway.events.record import Kind
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger("gateway.events")

POLL_SECONDS = 1.0
BATCH = 500
_BAD = {
    Kind.ASSOCIATION_REJECTED,
    Kind.PAYLOAD_CONFLICT,
    Kind.PAYLOAD_QUARANTINED,
    Kind.PAYLOAD_UNMATCHED,
    Kind.RESULT_WAITING,
    Kind.RESULT_FAILED,
    Kind.COMMITMENT_WAITING,
    Kind.COMMITMENT_FAILED,
    Kind.CIRCUIT_CHANGED,
    Kind.JOB_REQUEUED,
}
"""Kinds that a person may have to look at."""
_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_BAD_STATES = {"ABORTED", "FAULTED", "TERMINATED", "EVICTED", "FAILED"}


class Journal:
    """The worker that logs events; one per database."""

    def __init__(self, database: Database, wakeups: Wakeups) -> None:
        self._database = database
        self._wakeups = wakeups
        self._stop = threading.Event()
        with database.read() as connection:
            self._last = connection.execute(sa.select(sa.func.max(events.c.seq))).scalar() or 0

    def run(self) -> None:
        """Log until :meth:`stop`, then what was recorded last."""
        while not self._stop.is_set():
            self._turn()
            self._wakeups.wait(Topic.JOURNAL, POLL_SECONDS)
        self._turn()

    def stop(self) -> None:
        """Let :meth:`run` end."""
        self._stop.set()
        self._wakeups.notify(Topic.JOURNAL)

    def _turn(self) -> None:
        try:
            while self._log_batch() == BATCH:
                pass
        except Exception:
            # Task boundary: the log goes on when the database is there again.
            log.exception("events cannot be read for the log")

    def _log_batch(self) -> int:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(events)
                .where(events.c.seq > self._last)
                .order_by(events.c.seq)
                .limit(BATCH)
            ).all()
        for row in rows:
            log.log(level(row), "%s", row.kind, extra=fields(row))
            self._last = row.seq
        return len(rows)


def level(row: Row[Any]) -> int:
    """WARNING for what a person may have to look at, else INFO."""
    bad = row.kind in _BAD or _BAD_STATES & {row.data.get("state"), row.data.get("status")}
    return logging.WARNING if bad else logging.INFO


def fields(row: Row[Any]) -> dict[str, Any]:
    """The identifiers and data of an event as fields of its line."""
    identifiers = {
        name: getattr(row, name)
        for name in ("correlation_id", "association_id", "payload_id", "job_id", "result_id")
        if getattr(row, name)
    }
    known = {
        # logging raises on a field that it has itself, such as the name of a job.
        f"event_{name}" if name in _TAKEN else name: value
        for name, value in row.data.items()
        if value is not None
    }
    return {**known, "event": row.id, **identifiers}
