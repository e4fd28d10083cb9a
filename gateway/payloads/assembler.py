"""The assembler: watches payloads in RECEIVING, describes their series, completes them.

It works from the records alone; what the receiver tells it is only a hint to look now.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydicom
import sqlalchemy as sa
from sqlalchemy.engine import Row

from gateway.config.applications import CompleteWhen
from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.database.schema import (
    associations,
    instances,
    payload_associations,
    payload_revisions,
    payload_series,
    payloads,
)
from gateway.events.faults import point
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from gateway.payloads.associations import Associations
from gateway.payloads.completion import Feed, Open, Reason, due, next_due
from gateway.payloads.conflicts import REASON
from gateway.payloads.inflate import beginning
from gateway.payloads.states import Event, State, step

log = logging.getLogger(__name__)

Extract = Callable[[pydicom.Dataset], Mapping[str, Any]]
"""Turns the header of a series' first instance into the attributes that rules see."""

LOOK_SECONDS = 1.0
"""Longest time between two looks."""
PAUSE_SECONDS = 0.002
"""Shortest time between two looks, so that a busy receiver keeps the processor."""
DESCRIBE_AT_ONCE = 16
"""Series described between two looks at what is due."""


class Assembler:
    """The worker that completes payloads; one per data-dir."""

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        ae_config: LiveAeConfig,
        associations_: Associations,
        wakeups: Wakeups,
        extract: Extract,
    ) -> None:
        self._database = database
        self._data_dir = data_dir
        self._ae_config = ae_config
        self._associations = associations_
        self._wakeups = wakeups
        self._extract = extract
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`; run it in a thread of its own."""
        while not self._stop.is_set():
            try:
                self._associations.settle()
                described = self._describe()
                wait = 0.0 if described == DESCRIBE_AT_ONCE else self._look()
            except Exception:
                # Task boundary: one bad look must not end completion for everybody.
                log.exception("assembler failed, looks again")
                wait = LOOK_SECONDS
            self._wakeups.wait(Topic.PAYLOADS, max(0.0, wait))
            self._stop.wait(PAUSE_SECONDS)

    def stop(self) -> None:
        """End :meth:`run`."""
        self._stop.set()
        self._wakeups.notify(Topic.PAYLOADS)

    def _describe(self) -> int:
        """Store the attributes of series that have none; returns how many were looked at."""
        c = payload_series.c
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(c.payload_id, c.series_instance_uid, instances.c.path)
                .join(instances, instances.c.id == c.first_instance_id)
                .where(c.attributes.is_(None))
                .limit(DESCRIBE_AT_ONCE)
            ).all()
        described = [(row, self._attributes(row.path)) for row in rows]
        if described:
            with self._database.begin() as connection:
                for row, attributes in described:
                    connection.execute(
                        sa.update(payload_series)
                        .where(
                            c.payload_id == row.payload_id,
                            c.series_instance_uid == row.series_instance_uid,
                        )
                        .values(attributes=attributes)
                    )
        return len(described)

    def _attributes(self, path: str) -> dict[str, Any]:
        """Attributes of one instance; a header that cannot be read gives none, visibly."""
        try:
            with beginning(self._data_dir / path) as file:
                return dict(self._extract(pydicom.dcmread(file, stop_before_pixels=True)))
        except Exception as error:  # noqa: BLE001
            # The bytes are a stranger's: the series stays, its rules see nulls, the log says why.
            log.warning("series header unreadable", extra={"error": type(error).__name__})
            return {}

    def _look(self) -> float:
        """Complete what is due; returns the seconds until the next look."""
        now = time.time()
        waits = [LOOK_SECONDS]
        for row, payload in self._open():
            when = self._when(row.called_ae)
            reason = due(payload, when, now)
            if reason is not None:
                self._complete(row, reason)
            else:
                waits.append(next_due(payload, when) - now)
        return min(waits)

    def _when(self, called_ae: str) -> CompleteWhen:
        """The conditions in force; an AE title that left the configuration gets the defaults."""
        application = self._ae_config.current.application(called_ae)
        return application.complete_when if application else CompleteWhen()

    def _open(self) -> list[tuple[Row[Any], Open]]:
        """Every payload in RECEIVING with what feeds it."""
        pa, a = payload_associations.c, associations.c
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(payloads).where(payloads.c.state == State.RECEIVING)
            ).all()
            if not rows:
                return []
            fed = connection.execute(
                sa.select(pa.payload_id, pa.revision, a.id, a.state)
                .join(associations, a.id == pa.association_id)
                .join(payloads, payloads.c.id == pa.payload_id)
                .where(payloads.c.state == State.RECEIVING, pa.revision == payloads.c.revision)
            ).all()
        feeds: dict[str, list[Feed]] = defaultdict(list)
        for payload_id, _, association_id, state in fed:
            feeds[payload_id].append(Feed(state, self._associations.last_byte(association_id)))
        return [(row, _open(row, feeds[row.id])) for row in rows]

    def _complete(self, row: Row[Any], reason: Reason) -> None:
        """Complete the revision unless an instance came meanwhile."""
        now = time.time()
        point("payload.complete.before")
        with self._database.begin() as connection:
            fresh = connection.execute(
                sa.select(payloads).where(payloads.c.id == row.id).with_for_update()
            ).one()
            seen = (row.state, row.revision, row.instances, row.last_received_at)
            if (fresh.state, fresh.revision, fresh.instances, fresh.last_received_at) != seen:
                return
            undescribed = connection.execute(
                sa.select(sa.literal(1)).where(
                    payload_series.c.payload_id == row.id, payload_series.c.attributes.is_(None)
                )
            ).first()
            if undescribed is not None:
                # The last images' series are described first; the next look completes it.
                self._wakeups.notify(Topic.PAYLOADS)
                return
            held = fresh.conflict and not fresh.conflict_released
            event = Event.COMPLETE_IN_CONFLICT if held else Event.COMPLETE
            state = step(fresh.state, event)
            connection.execute(
                sa.update(payloads)
                .where(payloads.c.id == row.id)
                .values(
                    state=state,
                    completed_at=now,
                    reason=REASON if held else reason.value,
                    finished_at=now if held else None,
                )
            )
            connection.execute(
                sa.insert(payload_revisions).values(
                    payload_id=row.id,
                    revision=row.revision,
                    instances=row.instances,
                    opened_at=row.opened_at,
                    completed_at=now,
                    reason=reason.value,
                )
            )
            record(
                connection,
                Kind.PAYLOAD_COMPLETED,
                correlation_id=row.correlation_id,
                payload_id=row.id,
                data={
                    "state": state.value,
                    "revision": row.revision,
                    "instances": row.instances,
                    "reason": reason.value,
                    "called_ae": row.called_ae,
                    "study_instance_uid": row.study_instance_uid,
                },
                at=now,
            )
        point("payload.complete.after")
        self._wakeups.notify(Topic.ROUTING, Topic.EVENTS)


def _open(row: Row[Any], feeds: list[Feed]) -> Open:
    return Open(
        instances=row.instances,
        expected=row.expected,
        opened_at=row.opened_at,
        last_received_at=row.last_received_at,
        feeds=tuple(feeds),
    )
