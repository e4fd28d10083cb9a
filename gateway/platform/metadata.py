"""The rules of metadata: key and value pairs on jobs, payloads, pipelines and models.

Keys are compared without regard to case and keep the spelling they were added with.  A request
that breaks a rule changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.platform.errors import Code, PlatformError, invalid, limit, not_found

KEY_BYTES = 128
VALUE_BYTES = 256
TOTAL_BYTES = 4_000_000
"""Most bytes of one thing's metadata: with it a message stays below gRPC's usual 4 MiB."""
ENTRY_BYTES = 16
"""What each pair counts besides its key and value, as the wire adds it."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def added(present: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """``present`` with ``more``; a key that is there already is an error."""
    names = {key.casefold() for key in present}
    size = sum(_size(key, value) for key, value in present.items())
    for key, value in more.items():
        _check(key, value)
        folded = key.casefold()
        if folded in names:
            raise PlatformError(Code.EXISTS, f"the metadata key {key!r} is there already")
        names.add(folded)
        size += _size(key, value)
    if size > TOTAL_BYTES:
        raise limit(f"the metadata would have {size} bytes; at most {TOTAL_BYTES} are kept")
    return {**present, **more}


def removed(present: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """``present`` without ``keys``; a key that is not there is no error."""
    gone = {key.casefold() for key in keys}
    return {key: value for key, value in present.items() if key.casefold() not in gone}


def add(
    connection: Connection, table: sa.Table, row_id: str, more: Mapping[str, str], what: str
) -> dict[str, str]:
    """Add to the metadata of one row and return all of it; ``what`` names the thing in errors."""
    merged = added(_present(connection, table, row_id, what), more)
    _store(connection, table, row_id, merged)
    return merged


def remove(
    connection: Connection, table: sa.Table, row_id: str, keys: Iterable[str], what: str
) -> dict[str, str]:
    """Remove keys from the metadata of one row and return what is left."""
    left = removed(_present(connection, table, row_id, what), keys)
    _store(connection, table, row_id, left)
    return left


def _present(connection: Connection, table: sa.Table, row_id: str, what: str) -> dict[str, str]:
    found: dict[str, str] | None = connection.execute(
        sa.select(table.c.metadata).where(table.c.id == row_id).with_for_update()
    ).scalar()
    if found is None:
        raise not_found(f"there is no {what} {row_id}")
    return found


def _store(connection: Connection, table: sa.Table, row_id: str, values: dict[str, str]) -> None:
    connection.execute(sa.update(table).where(table.c.id == row_id).values(metadata=values))


def _check(key: str, value: str) -> None:
    if not key.strip():
        raise invalid("a metadata key is empty")
    if _CONTROL.search(key) or "\0" in value:
        raise invalid(f"the metadata key {key[:40]!r} or its value holds control characters")
    if len(key.encode()) > KEY_BYTES:
        raise limit(f"the metadata key {key[:40]!r}… has more than {KEY_BYTES} bytes")
    if len(value.encode()) > VALUE_BYTES:
        raise limit(f"the value of the metadata key {key!r} has more than {VALUE_BYTES} bytes")


def _size(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode()) + ENTRY_BYTES
