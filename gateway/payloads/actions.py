"""A person's buttons on payloads: release a conflict, retry a quarantined data set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.database.schema import payloads, quarantine
from gateway.errors import Refused
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from gateway.payloads.folders import Folders
from gateway.payloads.head import Unusable, read_head
from gateway.payloads.indexer import Indexer
from gateway.payloads.receiving import Arrival, Status
from gateway.payloads.requeue import received_again
from gateway.payloads.states import Event, step


@dataclass(frozen=True)
class PayloadActions:
    """What people do to payloads; every method may be called from any thread."""

    database: Database
    folders: Folders
    indexer: Indexer
    ae_config: LiveAeConfig
    wakeups: Wakeups

    def release_conflict(self, payload_id: str) -> None:
        """Let a payload in conflict go on: a person has looked at its patients."""
        with self.database.begin() as connection:
            row = _payload(connection, payload_id)
            if not row.conflict or row.conflict_released:
                raise Refused(f"payload {payload_id} is in no conflict")
            state = step(row.state, Event.RELEASE)
            connection.execute(
                sa.update(payloads)
                .where(payloads.c.id == payload_id)
                .values(state=state, conflict_released=True, finished_at=None)
            )
            record(
                connection,
                Kind.PAYLOAD_RELEASED,
                correlation_id=row.correlation_id,
                payload_id=payload_id,
                data={"state": state.value, "revision": row.revision},
            )
        self.wakeups.notify(Topic.ROUTING, Topic.JOBS, Topic.EVENTS)

    def retry_quarantine(self, item_id: str) -> None:
        """Try to index a quarantined data set again; Refused with the reason if it still fails."""
        with self.database.read() as connection:
            item = connection.execute(
                sa.select(quarantine).where(quarantine.c.id == item_id)
            ).one_or_none()
            if item is None:
                raise Refused(f"there is no quarantined data set {item_id}")
            row = _payload(connection, item.payload_id)
            step(row.state, Event.RETRY)
        application = self.ae_config.current.application(item.called_ae)
        if application is None:
            raise Refused(f"the called AE title {item.called_ae} is not configured any more")
        path = self.folders.root / item.path
        try:
            head = read_head(path)
        except Unusable as fault:
            raise Refused(f"the quarantined data set {item_id}: still {fault}") from fault
        arrival = Arrival(
            association_id=item.association_id,
            called_ae=item.called_ae,
            calling_ae=item.calling_ae,
            host=item.host,
            sop_class_uid=head.sop_class_uid,
            sop_instance_uid=head.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
        )
        received = received_again(self.folders, path, arrival, head)
        verdict = self.indexer.index(received, application, sync=True)
        if verdict.outcome.status is not Status.SUCCESS:
            raise Refused(f"the quarantined data set {item_id}: {verdict.outcome.comment}")
        if not verdict.kept:
            (self.folders.root / received.path).unlink(missing_ok=True)
        self._resolved(row, path)

    def _resolved(self, row: Row[Any], path: Any) -> None:
        now = time.time()
        with self.database.begin() as connection:
            connection.execute(
                sa.update(quarantine)
                .where(quarantine.c.payload_id == row.id)
                .values(resolved_at=now, resolution="retried")
            )
            connection.execute(
                sa.update(payloads)
                .where(payloads.c.id == row.id)
                .values(
                    state=step(row.state, Event.RETRY), deleted_at=now, reason="retried: indexed"
                )
            )
            record(
                connection,
                Kind.PAYLOAD_RETRIED,
                correlation_id=row.correlation_id,
                payload_id=row.id,
                data={"reason": "indexed"},
                at=now,
            )
        path.unlink(missing_ok=True)


def _payload(connection: Connection, payload_id: str) -> Row[Any]:
    row = connection.execute(sa.select(payloads).where(payloads.c.id == payload_id)).one_or_none()
    if row is None:
        raise Refused(f"there is no payload {payload_id}")
    return row
