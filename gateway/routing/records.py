"""Reading what a rule needs to know of a payload, and which instances a selection holds.

A payload at one revision never changes, so all of this is read from a snapshot outside of the
transaction that stores the decisions.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import instances, payload_instances, payload_series
from gateway.routing.context import Facts, SeriesFacts
from gateway.routing.geometry import Geometry
from gateway.routing.keywords import SERIES_DERIVED, STUDY_DERIVED
from gateway.routing.names import Names

GEOMETRY = frozenset({"spacing", "orientation"})
"""Names that need the geometry of every instance."""


def facts_of(connection: Connection, payload: Row[Any], names: Names) -> Facts:
    """What is known of ``payload`` (a row of ``payloads``) at its revision.

    Only what ``names`` asks for is read; series come in the order of their first instance.
    """
    counts: dict[str, int] = defaultdict(int)
    classes: dict[str, set[str]] = defaultdict(set)
    first: dict[str, int] = {}
    rows = connection.execute(
        sa.select(
            instances.c.series_instance_uid,
            instances.c.sop_class_uid,
            sa.func.count(),
            sa.func.min(instances.c.id),
        )
        .select_from(_held(payload.id, payload.revision))
        .group_by(instances.c.series_instance_uid, instances.c.sop_class_uid)
    )
    for uid, sop_class, count, lowest in rows:
        counts[uid] += count
        classes[uid].add(sop_class)
        first[uid] = min(lowest, first.get(uid, lowest))
    attributes = _attributes(connection, payload.id, names)
    geometries = _geometries(connection, payload, names)
    return Facts(
        called=payload.called_ae,
        calling=payload.calling_ae,
        host=payload.host,
        series=tuple(
            SeriesFacts(
                uid=uid,
                attributes=attributes.get(uid, {}),
                instances=counts[uid],
                sop_classes=tuple(sorted(classes[uid])),
                geometries=geometries.get(uid, ()),
            )
            for uid in sorted(counts, key=first.__getitem__)
        ),
    )


def selection_digest(
    connection: Connection, payload_id: str, revision: int, selected: Collection[str]
) -> str:
    """SHA-256, hex, over the selected instances: the same digest = the same instances.

    Covers series, SOP Instance UID and digest of the data set of each, in sorted order.
    """
    wanted = set(selected)
    rows = connection.execute(
        sa.select(
            instances.c.series_instance_uid, instances.c.sop_instance_uid, instances.c.digest
        ).select_from(_held(payload_id, revision))
    )
    digest = hashlib.sha256()
    for line in sorted(tuple(row) for row in rows if row.series_instance_uid in wanted):
        digest.update("\0".join(line).encode() + b"\n")
    return digest.hexdigest()


def _held(payload_id: str, revision: int) -> sa.FromClause:
    """``instances`` joined to those that the payload holds at ``revision``."""
    return instances.join(
        payload_instances,
        sa.and_(
            payload_instances.c.instance_id == instances.c.id,
            payload_instances.c.payload_id == payload_id,
            payload_instances.c.revision <= revision,
            sa.or_(
                payload_instances.c.removed.is_(None),
                payload_instances.c.removed > revision,
            ),
        ),
    )


def _attributes(connection: Connection, payload_id: str, names: Names) -> dict[str, dict[str, Any]]:
    """Series UID → the attributes asked for; the database picks them out of the JSON."""
    keywords = sorted((names.study - STUDY_DERIVED) | (names.series - SERIES_DERIVED))
    if "modalities" in names.study and "Modality" not in keywords:
        keywords.append("Modality")
    if not keywords:
        return {}
    columns = [payload_series.c.attributes[keyword] for keyword in keywords]
    rows = connection.execute(
        sa.select(payload_series.c.series_instance_uid, *columns).where(
            payload_series.c.payload_id == payload_id
        )
    )
    return {uid: dict(zip(keywords, values, strict=True)) for uid, *values in rows}


def _geometries(
    connection: Connection, payload: Row[Any], names: Names
) -> dict[str, list[Geometry | None]]:
    if not names.series & GEOMETRY:
        return {}
    found: dict[str, list[Geometry | None]] = defaultdict(list)
    rows = connection.execute(
        sa.select(instances.c.series_instance_uid, instances.c.geometry)
        .select_from(_held(payload.id, payload.revision))
        .order_by(instances.c.id)
    )
    for uid, geometry in rows:
        found[uid].append(geometry)
    return found
