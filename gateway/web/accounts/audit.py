"""Who changed what, when and from where.

A change that comes over HTTP is written down before it is done and completed with its answer: a
crash in between leaves an entry without a status, never a change without an entry.  No patient
data: identifiers and the words of the call only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import audit
from gateway.events.privacy import scrub, scrub_text
from gateway.web.accounts.roles import Identity

LONGEST = 200
"""Most characters of one text that are kept."""


def note(
    connection: Connection,
    who: Identity,
    action: str,
    *,
    target: str | None = None,
    data: Mapping[str, Any] | None = None,
    status: int | None = None,
) -> int:
    """Write an entry; returns its number, for :func:`complete`."""
    row = {
        "time": time.time(),
        "user": who.user,
        "via": who.via.value,
        "role": None if who.role is None else who.role.value,
        "address": who.address,
        "action": action[:128],
        "target": None if target is None else scrub_text(target)[:LONGEST],
        "data": {key: _short(value) for key, value in scrub(dict(data or {})).items()},
        "status": status,
    }
    made = connection.execute(sa.insert(audit).values(**row).returning(audit.c.id))
    return int(made.scalar_one())


def complete(connection: Connection, number: int, status: int) -> None:
    """Add how the call was answered."""
    mine = audit.c.id == number
    connection.execute(sa.update(audit).where(mine).values(status=status))


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value
