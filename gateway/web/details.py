"""One record with everything around it, for ``describe``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import (
    associations,
    commitments,
    decisions,
    events,
    instances,
    jobs,
    operators,
    payload_associations,
    payload_instances,
    payload_revisions,
    payload_series,
    payloads,
    pipelines,
    quarantine,
    result_files,
    results,
    services,
)
from gateway.web.records import all_shown, columns, shown

MAX_ROWS = 1000
"""Most rows of each kind within one description."""

Details = dict[str, Any]


def payload(connection: Connection, identifier: str) -> Details | None:
    """A received payload with revisions, series, associations, decisions, jobs and quarantine."""
    found = _one(connection, payloads, identifier)
    if found is None:
        return None
    of = payload_revisions.c.payload_id == identifier
    found["revisions"] = _rows(
        connection, payload_revisions, of, order=payload_revisions.c.revision
    )
    found["series"] = _series(connection, identifier)
    fed = sa.select(payload_associations.c.association_id)
    fed = fed.where(payload_associations.c.payload_id == identifier)
    found["associations"] = _rows(
        connection, associations, associations.c.id.in_(fed), order=associations.c.opened_at
    )
    of = decisions.c.payload_id == identifier
    found["decisions"] = _rows(connection, decisions, of, order=decisions.c.id)
    of = jobs.c.received_payload_id == identifier
    found["jobs"] = _rows(connection, jobs, of, order=jobs.c.created_at)
    of = quarantine.c.payload_id == identifier
    found["quarantine"] = _rows(connection, quarantine, of, order=quarantine.c.received_at)
    return found


def job(connection: Connection, identifier: str) -> Details | None:
    """A job with its pipeline, operators, results, and why it was started."""
    found = _one(connection, jobs, identifier)
    if found is None:
        return None
    pipeline = _one(connection, pipelines, found["pipeline_id"]) or {}
    found["pipeline"] = {name: pipeline.get(name) for name in ("id", "name", "version", "digest")}
    of = operators.c.job_id == identifier
    found["operators"] = [
        _timed(row)
        for row in _rows(connection, operators, of, order=operators.c.position, raw=True)
    ]
    of = decisions.c.job_id == identifier
    made_by = _rows(connection, decisions, of, order=decisions.c.id)
    found["decision"] = made_by[0] if made_by else None
    found["why"] = _why(connection, found)
    of = results.c.job_id == identifier
    found["results"] = _rows(connection, results, of, order=results.c.created_at)
    return found


def result(connection: Connection, identifier: str) -> Details | None:
    """A result with the state of each of its files and its commitment transactions."""
    found = _one(connection, results, identifier)
    if found is not None:
        of = result_files.c.result_id == identifier
        found["files"] = _rows(connection, result_files, of, order=result_files.c.id)
        of = commitments.c.result_id == identifier
        found["commitments"] = _rows(connection, commitments, of, order=commitments.c.created_at)
    return found


def association(connection: Connection, identifier: str) -> Details | None:
    """An association with the payloads it fed."""
    found = _one(connection, associations, identifier)
    if found is not None:
        fed = sa.select(payload_associations.c.payload_id)
        fed = fed.where(payload_associations.c.association_id == identifier)
        found["payloads"] = _rows(
            connection, payloads, payloads.c.id.in_(fed), order=payloads.c.opened_at
        )
    return found


def pipeline(connection: Connection, identifier: str) -> Details | None:
    """A pipeline version with its definition; by id, or the newest version by name."""
    query = sa.select(pipelines).where(
        sa.or_(pipelines.c.id == identifier, pipelines.c.name == identifier)
    )
    row = connection.execute(query.order_by(pipelines.c.version.desc())).mappings().first()
    return None if row is None else shown(row)


def quarantined(connection: Connection, identifier: str) -> Details | None:
    """An unusable data set: where it came from and why it is unusable."""
    return _one(connection, quarantine, identifier)


def event(connection: Connection, identifier: str) -> Details | None:
    """One event."""
    return _one(connection, events, identifier)


def service(connection: Connection, identifier: str) -> Details | None:
    """One long-lived service."""
    return _one(connection, services, identifier)


def log_files(connection: Connection, job_id: str) -> list[tuple[int, str, str]]:
    """Attempt, operator and log path (relative to data-dir) of each operator of a job."""
    query = sa.select(operators.c.attempt, operators.c.name, operators.c.log)
    query = query.where(operators.c.job_id == job_id)
    order = (operators.c.attempt, operators.c.position)
    return [(row.attempt, row.name, row.log) for row in connection.execute(query.order_by(*order))]


def _series(connection: Connection, identifier: str) -> list[Details]:
    counted = (
        sa.select(instances.c.series_instance_uid, sa.func.count().label("n"))
        .join(payload_instances, payload_instances.c.instance_id == instances.c.id)
        .where(payload_instances.c.payload_id == identifier, payload_instances.c.removed.is_(None))
        .group_by(instances.c.series_instance_uid)
        .limit(MAX_ROWS)
    )
    known = sa.select(payload_series.c.series_instance_uid, payload_series.c.attributes)
    known = known.where(payload_series.c.payload_id == identifier).limit(MAX_ROWS)
    attributes = {
        row.series_instance_uid: row.attributes or {} for row in connection.execute(known)
    }
    return [
        {
            "series_instance_uid": row.series_instance_uid,
            "modality": attributes.get(row.series_instance_uid, {}).get("Modality"),
            "instances": row.n,
        }
        for row in connection.execute(counted)
    ]


def _timed(row: Mapping[Any, Any]) -> Details:
    found = shown(row)
    started, stopped = row["started_at"], row["stopped_at"]
    ended = started is not None and stopped is not None
    found["seconds"] = round(stopped - started, 3) if ended else None
    return found


def _why(connection: Connection, found: Details) -> str:
    if found["received_payload_id"] is None:
        return "made by hand"
    where = f"revision {found['revision']} of payload {found['received_payload_id']}"
    query = sa.select(payload_revisions.c.reason).where(
        payload_revisions.c.payload_id == found["received_payload_id"],
        payload_revisions.c.revision == found["revision"],
    )
    reason = connection.execute(query).scalar()
    completed = f", complete by {reason}" if reason else ""
    return f"rule {found['rule']!r} of {found['called_ae']} matched {where}{completed}"


def _one(connection: Connection, table: sa.Table, identifier: str) -> Details | None:
    query = sa.select(*columns(table)).where(table.c.id == identifier)
    row = connection.execute(query).mappings().first()
    return None if row is None else shown(row)


def _rows(
    connection: Connection,
    table: sa.Table,
    condition: sa.ColumnElement[bool],
    *,
    order: sa.Column[Any],
    raw: bool = False,
) -> list[Any]:
    query = sa.select(*columns(table)).where(condition).order_by(order).limit(MAX_ROWS)
    rows = connection.execute(query).mappings().all()
    return list(rows) if raw else all_shown(rows)
