"""Where is my study?  Every payload that holds it with its whole story, or why there is none."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import associations, instances, quarantine
from gateway.events.times import rfc3339
from gateway.web import listing
from gateway.web.timeline import timeline

LOOK_BACK_SECONDS = 7 * 86400
"""How far back hints about an unknown study go."""
MAX_PAYLOADS = 50
"""Most payloads that are told in full."""
_HINTS = 10

_STATES = {
    "RECEIVING": "instances are still arriving, or the quiet time runs",
    "COMPLETE": "complete, the rules are evaluated next",
    "UNMATCHED": "no rule matched it: see its decisions",
    "CONFLICT": "different patients under one UID: `gateway release payload` after a check",
    "QUARANTINED": "its data sets are unusable: see the quarantine",
    "DELETED": "its files are deleted",
}


def where_is(
    connection: Connection, *, study: str | None = None, accession: str | None = None
) -> dict[str, Any]:
    """The answer: ``found``, ``payloads`` (each with ``timeline``), ``notes`` for a person.

    At least one of ``study`` (Study Instance UID) and ``accession`` is given.  Notes hold AE
    titles, hosts, UIDs and counts only.
    """
    conditions = listing.of_job_or_study(connection, study=study, accession=accession, job=None)
    page = listing.page(connection, listing.PAYLOADS, where=conditions, limit=MAX_PAYLOADS)
    for item in page.items:
        item["timeline"] = timeline(connection, item["id"])
    notes = [
        f"payload {item['id']}: {_STATES[item['state']]}"
        for item in page.items
        if item["state"] in _STATES
    ]
    if page.next is not None:
        notes.append(f"only the newest {MAX_PAYLOADS} payloads are told")
    if study is not None:
        notes += _returned(connection, study)
    if not page.items:
        notes += ["nothing of this study was kept", *_hints(connection)]
    return {"found": bool(page.items), "payloads": page.items, "notes": notes}


def _returned(connection: Connection, study: str) -> list[str]:
    i = instances.c
    query = (
        sa.select(i.calling_ae, i.host, sa.func.count())
        .where(i.study_instance_uid == study, i.kind == "RETURNED")
        .group_by(i.calling_ae, i.host)
    )
    return [
        f"{count} instances that the gateway had delivered came back from {calling} ({host})"
        for calling, host, count in connection.execute(query.limit(_HINTS))
    ]


def _hints(connection: Connection) -> list[str]:
    """What was turned away lately: the study may be among it."""
    since = time.time() - LOOK_BACK_SECONDS
    hints = [*_rejected(connection, since), *_quarantined(connection), *_ignored(connection, since)]
    return hints or ["nothing was rejected, quarantined or ignored in the last 7 days either"]


def _rejected(connection: Connection, since: float) -> list[str]:
    a = associations.c
    who = (a.calling_ae, a.host, a.called_ae, a.reason)
    latest = sa.func.max(a.opened_at)
    query = (
        sa.select(*who, sa.func.count(), latest)
        .where(a.state == "REJECTED", a.opened_at >= since)
        .group_by(*who)
        .order_by(latest.desc())
        .limit(_HINTS)
    )
    return [
        f"{count} associations rejected: {calling} ({host}) to {called}: "
        f"{reason or 'no reason recorded'}; last at {rfc3339(last)}"
        for calling, host, called, reason, count, last in connection.execute(query)
    ]


def _quarantined(connection: Connection) -> list[str]:
    q = quarantine.c
    who = (q.calling_ae, q.host, q.called_ae, q.reason)
    query = sa.select(*who, sa.func.count()).where(q.resolved_at.is_(None))
    return [
        f"{count} data sets in quarantine from {calling} ({host}) to {called}: {reason}"
        for calling, host, called, reason, count in connection.execute(
            query.group_by(*who).limit(_HINTS)
        )
    ]


def _ignored(connection: Connection, since: float) -> list[str]:
    a = associations.c
    who = (a.calling_ae, a.host, a.called_ae)
    hints = []
    for column, text in (
        (a.ignored, "instances answered Success and not kept (ignore-sop-classes)"),
        (a.refused, "instances refused with a failure status"),
    ):
        query = sa.select(*who, sa.func.sum(column)).where(a.opened_at >= since, column > 0)
        hints += [
            f"{count} {text}: {calling} ({host}) to {called}"
            for calling, host, called, count in connection.execute(
                query.group_by(*who).limit(_HINTS)
            )
        ]
    return hints
