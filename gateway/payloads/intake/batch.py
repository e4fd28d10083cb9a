"""Many instances into the index at once, exactly as :func:`gateway.payloads.grouping.place` would.

Most instances of a study are alike to the index: the payload receives, the series and the
association are known, nobody has seen the UID.  Those are collected and written by a few
statements.  Everything else (the first of a series, duplicates, late ones, our own that come
back, another patient) goes through ``place`` itself, in its turn.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.config.applications import Application
from gateway.database.schema import (
    instances,
    payload_associations,
    payload_instances,
    payload_series,
    payloads,
    result_files,
)
from gateway.payloads import counting
from gateway.payloads.arrived import Received
from gateway.payloads.grouping import KEPT, Verdict, group_key, instance_values, place
from gateway.payloads.states import State

_Key = tuple[str, str, str]
"""Called AE title, group-by and group key."""


@dataclass(frozen=True)
class Item:
    """An instance with the application it was sent to."""

    received: Received
    application: Application

    @property
    def key(self) -> _Key:
        """What names its payload."""
        app = self.application
        return app.ae_title, app.group_by, group_key(self.received, app)

    @property
    def uid(self) -> tuple[str, str]:
        """What names it in the index."""
        return self.received.arrival.called_ae, self.received.head.sop_instance_uid


class Batch:
    """Instances of one transaction; add them in order, then :meth:`flush`."""

    def __init__(self, connection: Connection, items: Sequence[Item]) -> None:
        """Look up at once what the index knows of ``items``, all that will be added."""
        self._connection = connection
        self._taken = self._stored([item.uid for item in items])
        self._ours = self._returning({item.received.head.sop_instance_uid for item in items})
        self._payloads: dict[_Key, Row[Any]] = {}
        self._series: set[tuple[str, str]] = set()
        self._fed: set[tuple[str, str, int]] = set()
        self._load({item.key for item in items})
        self._usual: list[tuple[Item, Row[Any]]] = []

    def add(self, item: Item) -> Verdict:
        """Index one instance, now or with :meth:`flush`."""
        payload = self._payloads.get(item.key)
        if payload is not None and self._is_usual(item, payload):
            self._usual.append((item, payload))
            self._taken.add(item.uid)
            return KEPT
        self.flush()
        verdict = place(self._connection, item.received, item.application)
        self._taken.add(item.uid)
        self._load({item.key})
        return verdict

    def flush(self) -> None:
        """Write what was collected."""
        usual, self._usual = self._usual, []
        if not usual:
            return
        numbers = self._insert([item for item, _ in usual])
        self._connection.execute(
            sa.insert(payload_instances),
            [
                {
                    "payload_id": payload.id,
                    "instance_id": numbers[item.uid],
                    "revision": payload.revision,
                }
                for item, payload in usual
            ],
        )
        self._count(usual)

    def _is_usual(self, item: Item, payload: Row[Any]) -> bool:
        head, association = item.received.head, item.received.arrival.association_id
        return (
            payload.state == State.RECEIVING
            and item.uid not in self._taken
            and head.sop_instance_uid not in self._ours
            and head.patient_id == payload.patient_id
            and head.related.get(payload.group_by, payload.expected) == payload.expected
            and (payload.id, head.series_instance_uid) in self._series
            and (payload.id, association, payload.revision) in self._fed
        )

    def _insert(self, items: list[Item]) -> dict[tuple[str, str], int]:
        rows = self._connection.execute(
            sa.insert(instances).returning(
                instances.c.id, instances.c.called_ae, instances.c.sop_instance_uid
            ),
            [instance_values(item.received, "RECEIVED") for item in items],
        )
        return {(row.called_ae, row.sop_instance_uid): row.id for row in rows}

    def _count(self, usual: list[tuple[Item, Row[Any]]]) -> None:
        payload_sizes: dict[str, list[int]] = defaultdict(list)
        association_sizes: dict[str, list[int]] = defaultdict(list)
        latest: dict[str, float] = defaultdict(time.time)
        for item, payload in usual:
            received = item.received
            payload_sizes[payload.id].append(received.size)
            association_sizes[received.arrival.association_id].append(received.size)
            latest[payload.id] = max(latest[payload.id], received.received_at)
        c = payloads.c
        for payload_id, sizes in payload_sizes.items():
            self._connection.execute(
                sa.update(payloads)
                .where(c.id == payload_id)
                .values(
                    instances=c.instances + len(sizes),
                    bytes=c.bytes + sum(sizes),
                    last_received_at=latest[payload_id],
                )
            )
        for association_id, sizes in association_sizes.items():
            counting.kept(self._connection, association_id, sum(sizes), len(sizes))

    def _stored(self, uids: list[tuple[str, str]]) -> set[tuple[str, str]]:
        by_called: dict[str, list[str]] = defaultdict(list)
        for called, uid in uids:
            by_called[called].append(uid)
        c = instances.c
        found: set[tuple[str, str]] = set()
        for called, named in by_called.items():
            rows = self._connection.execute(
                sa.select(c.sop_instance_uid).where(
                    c.called_ae == called, c.sop_instance_uid.in_(named), c.state == "STORED"
                )
            )
            found |= {(called, uid) for uid in rows.scalars()}
        return found

    def _returning(self, uids: set[str]) -> set[str]:
        c = result_files.c
        query = sa.select(c.sop_instance_uid).where(c.sop_instance_uid.in_(uids)).distinct()
        return set(self._connection.execute(query).scalars())

    def _load(self, keys: set[_Key]) -> None:
        """Look up the latest payload of each key and what is known of it."""
        by_application: dict[tuple[str, str], list[str]] = defaultdict(list)
        for called, group_by, key in keys:
            by_application[called, group_by].append(key)
        c = payloads.c
        found: list[Row[Any]] = []
        for (called, group_by), named in by_application.items():
            found += self._connection.execute(
                sa.select(payloads)
                .where(c.called_ae == called, c.group_by == group_by, c.group_key.in_(named))
                .order_by(c.generation)
                .with_for_update()
            ).all()
        for row in found:
            self._payloads[row.called_ae, row.group_by, row.group_key] = row
        ids = {row.id for row in found if row.state == State.RECEIVING}
        if not ids:
            return
        s, a = payload_series.c, payload_associations.c
        for payload_id, series in self._connection.execute(
            sa.select(s.payload_id, s.series_instance_uid).where(s.payload_id.in_(ids))
        ):
            self._series.add((payload_id, series))
        for payload_id, association, revision in self._connection.execute(
            sa.select(a.payload_id, a.association_id, a.revision).where(a.payload_id.in_(ids))
        ):
            self._fed.add((payload_id, association, revision))
