"""Deleting payloads whose work is over and whose time has come (settings ``retention``).

A payload is never deleted while it receives, while a job of it is not STOPPED, or while a result
of it is still to be delivered or committed.  Above the storage watermark the oldest finished ones
go first, before their hours are over.  The payload of a job made by hand ripens as that of any
other job; a reusable payload never does (:mod:`gateway.payloads.handmade`).  Every deletion is an
event; files go after the record, and what a kill leaves over is removed at the next start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.settings import RetentionSettings
from gateway.database.engine import Database
from gateway.database.schema import (
    instances,
    jobs,
    payload_instances,
    payloads,
    quarantine,
    results,
)
from gateway.errors import Refused
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.payloads import handmade
from gateway.payloads.folders import Folders
from gateway.payloads.leftovers import remove_folders, remove_leftovers
from gateway.payloads.recovery import remove_file
from gateway.payloads.space import Space
from gateway.payloads.states import Event, State, step
from gateway.results.states import still_needed

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
TIDY_SECONDS = 3600.0
"""How often folders are looked for that a kill, or a deletion by hand, left."""
_RESTING = (State.ROUTED, State.UNMATCHED, State.CONFLICT, State.QUARANTINED)


@dataclass(frozen=True)
class Ripe:
    """A payload whose work is over: since when, and by which setting it is kept how long."""

    payload_id: str
    since: float
    kept_by: str
    hours: float
    job_id: str | None = None
    """It belongs to this job, made by hand; None = it was received."""


class Retention:
    """The worker that deletes; one per data-dir."""

    def __init__(
        self,
        database: Database,
        folders: Folders,
        settings: RetentionSettings,
        space: Space,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._database = database
        self._folders = folders
        self._settings = settings
        self._space = space
        self._sweep_seconds = sweep_seconds
        self._stop = threading.Event()

    def run(self) -> None:
        """Sweep until :meth:`stop`; run it in a thread of its own."""
        tidy_at = 0.0
        while not self._stop.wait(self._sweep_seconds):
            try:
                if time.monotonic() >= tidy_at:
                    self.tidy(time.time())
                    tidy_at = time.monotonic() + TIDY_SECONDS
                self.sweep(time.time())
            except Exception:
                # Task boundary: a fault is logged and the next sweep tries again.
                log.exception("retention sweep failed, tries again")

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stop.set()

    def sweep(self, now: float) -> list[str]:
        """Delete what is due at ``now``; returns the payloads deleted, oldest first."""
        deleted = []
        for ripe in self.ripe(now):
            if now >= ripe.since + 3600 * ripe.hours:
                reason = f"retention: {ripe.kept_by} ({ripe.hours:g} h)"
            elif self._space.full():
                reason = "retention: storage watermark, oldest finished first"
            else:
                continue
            try:
                self._delete(ripe, reason)
            except Refused as error:
                # Work on it began since it was judged.
                log.info("payload kept", extra={"payload_id": ripe.payload_id, "why": str(error)})
                continue
            deleted.append(ripe.payload_id)
        self._delete_returned(now)
        return deleted

    def tidy(self, now: float) -> int:
        """Remove folders of payloads that were deleted already; returns how many."""
        before = now - 3600 * self._settings.failed_hours
        return remove_leftovers(self._database, self._folders, before)

    def ripe(self, now: float) -> list[Ripe]:
        """Every payload that may be deleted by age, or for want of room, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(payloads).where(payloads.c.state.in_(_RESTING))
            ).all()
            found = [ripe for row in rows if (ripe := self._judge(connection, row))]
            found += self._by_hand(connection, now)
        return sorted(found, key=lambda ripe: ripe.since)

    def _by_hand(self, connection: Connection, now: float) -> Iterator[Ripe]:
        """Payloads of jobs made by hand: those that may be due, all of them when room is wanted."""
        good, bad = self._settings.delivered_hours, self._settings.failed_hours
        before = now if self._space.full() else now - 3600 * min(good, bad)
        for one in handmade.finished(connection, before):
            kept = ("failed-hours", bad) if one.failed else ("delivered-hours", good)
            yield Ripe(one.payload_id, one.since, *kept, job_id=one.job_id)

    def _judge(self, connection: Connection, row: Row[Any]) -> Ripe | None:
        """When and by which setting ``row`` ripens; None while any work of it is open."""
        if open_work(connection, row.id):
            return None
        since = row.finished_at or row.routed_at or row.completed_at or row.last_received_at
        if row.state == State.UNMATCHED:
            hours = 0.0 if row.discard else self._settings.unmatched_hours
            return Ripe(row.id, since, "discard" if row.discard else "unmatched-hours", hours)
        ends = _ends(connection, row.id)
        since = max([since, *(at for at, _ in ends)])
        if row.state in {State.CONFLICT, State.QUARANTINED} or any(bad for _, bad in ends):
            return Ripe(row.id, since, "failed-hours", self._settings.failed_hours)
        return Ripe(row.id, since, "delivered-hours", self._settings.delivered_hours)

    def _delete(self, ripe: Ripe, reason: str) -> None:
        if ripe.job_id is None:
            self.delete(ripe.payload_id, reason)
            return
        point("payload.delete.before")
        with self._database.begin() as connection:
            handmade.mark_deleted(connection, ripe.job_id, reason)
        point("payload.delete.after")
        remove_folders(self._folders, [ripe.payload_id], [ripe.job_id])
        log.info("payload deleted", extra={"payload_id": ripe.payload_id, "reason": reason})

    def delete(self, payload_id: str, reason: str) -> None:
        """Delete one received payload, record and event first, then its files.

        Refused while work of it is open.
        """
        point("payload.delete.before")
        with self._database.begin() as connection:
            row = connection.execute(
                sa.select(payloads).where(payloads.c.id == payload_id).with_for_update()
            ).one_or_none()
            if row is None:
                raise Refused(f"there is no payload {payload_id}")
            if open_work(connection, payload_id):
                raise Refused(f"payload {payload_id} has a job or result that is not finished")
            gone = _mark_deleted(connection, row, reason)
        point("payload.delete.after")
        for path in gone.files:
            remove_file(self._folders.root, path)
        remove_folders(self._folders, gone.job_payloads, gone.jobs)
        log.info("payload deleted", extra={"payload_id": payload_id, "reason": reason})

    def _delete_returned(self, now: float) -> None:
        """Our own instances that came back feed no payload; they are kept as long as delivered."""
        c = instances.c
        before = now - 3600 * self._settings.delivered_hours
        with self._database.begin() as connection:
            paths = [
                row.path
                for row in connection.execute(
                    sa.update(instances)
                    .where(c.kind == "RETURNED", c.state == "STORED", c.received_at <= before)
                    .values(state="DELETED")
                    .returning(c.path)
                )
            ]
        for path in paths:
            remove_file(self._folders.root, path)


@dataclass(frozen=True)
class _Gone:
    files: list[str]
    job_payloads: list[str]
    jobs: list[str]


def open_work(connection: Connection, payload_id: str) -> bool:
    """True while a job of the payload is not STOPPED or a result of it is to be delivered."""
    job = sa.select(jobs.c.id).where(jobs.c.received_payload_id == payload_id)
    running = connection.execute(job.where(jobs.c.state != "STOPPED").limit(1)).first()
    if running is not None:
        return True
    return (
        connection.execute(
            sa.select(results.c.id)
            .where(
                results.c.job_id.in_(job),
                results.c.deliverable,
                still_needed(),
            )
            .limit(1)
        ).first()
        is not None
    )


def _ends(connection: Connection, payload_id: str) -> list[tuple[float, bool]]:
    """When each job and result of the payload ended, and whether badly."""
    c = jobs.c
    found = [
        (row.stopped_at or 0.0, row.status not in {"HEALTHY", "CANCELED"})
        for row in connection.execute(
            sa.select(c.stopped_at, c.status).where(c.received_payload_id == payload_id)
        )
    ]
    mine = sa.select(c.id).where(c.received_payload_id == payload_id)
    found += [
        (row.committed_at or row.delivered_at or row.created_at, row.state == "FAILED")
        for row in connection.execute(
            sa.select(results).where(results.c.job_id.in_(mine), results.c.deliverable)
        )
    ]
    return found


def _mark_deleted(connection: Connection, row: Row[Any], reason: str) -> _Gone:
    state = step(row.state, Event.DELETE)
    now = time.time()
    c = instances.c
    mine = sa.select(payload_instances.c.instance_id).where(
        payload_instances.c.payload_id == row.id
    )
    files = [
        r.path
        for r in connection.execute(
            sa.update(instances).where(c.id.in_(mine)).values(state="DELETED").returning(c.path)
        )
    ]
    files += [
        r.path
        for r in connection.execute(
            sa.update(quarantine)
            .where(quarantine.c.payload_id == row.id, quarantine.c.resolved_at.is_(None))
            .values(resolved_at=now, resolution="deleted")
            .returning(quarantine.c.path)
        )
    ]
    job_rows = connection.execute(
        sa.select(jobs.c.id, jobs.c.payload_id).where(jobs.c.received_payload_id == row.id)
    ).all()
    connection.execute(
        sa.update(payloads)
        .where(payloads.c.id == row.id)
        .values(state=state, deleted_at=now, reason=reason)
    )
    record(
        connection,
        Kind.PAYLOAD_DELETED,
        correlation_id=row.correlation_id,
        payload_id=row.id,
        data={"state": state.value, "reason": reason, "instances": row.instances},
        at=now,
    )
    return _Gone(files, [r.payload_id for r in job_rows], [r.id for r in job_rows])
