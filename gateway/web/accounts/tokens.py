"""Tokens for scripts: bearer secrets with a role of their own; only a digest is kept."""

from __future__ import annotations

import secrets
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import tokens
from gateway.errors import Refused
from gateway.web.accounts.roles import Identity, Role, Via
from gateway.web.accounts.sessions import digest
from gateway.web.accounts.users import plain

PREFIX = "gw_"
"""How a token begins, so that scanners for leaked secrets know it."""
LONGEST = 4096
"""Longest token that is looked at, in characters."""
_NOTE_SECONDS = 60.0
_SHOWN = (
    tokens.c.name, tokens.c.role, tokens.c.created_by, tokens.c.created_at, tokens.c.expires_at,
    tokens.c.used_at,
)  # fmt: skip


class UnknownToken(Refused):
    """There is no token of that name."""


def listing(connection: Connection) -> list[dict[str, Any]]:
    """Every token by name; never the secret."""
    rows = connection.execute(sa.select(*_SHOWN).order_by(tokens.c.name)).mappings()
    return [dict(row) for row in rows]


def create(
    connection: Connection, name: str, role: Role, *, days: float | None, by: str | None
) -> tuple[dict[str, Any], str]:
    """Make a token that ends after ``days`` (None = never): its record, and the secret.

    The secret is told this once.  Raises :class:`Refused` for a name that is taken.
    """
    name = plain(name)
    taken = sa.select(tokens.c.name).where(tokens.c.name == name)
    if connection.execute(taken).first() is not None:
        raise Refused(f"There is a token {name!r} already.")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = time.time()
    until = None if days is None else now + days * 86400
    row = {"name": name, "digest": digest(secret), "role": role.value, "created_by": by}
    connection.execute(sa.insert(tokens).values(**row, created_at=now, expires_at=until))
    made = connection.execute(sa.select(*_SHOWN).where(tokens.c.name == name)).mappings().one()
    return dict(made), secret


def remove(connection: Connection, name: str) -> None:
    """Revoke a token; raises :class:`UnknownToken`."""
    gone = connection.execute(sa.delete(tokens).where(tokens.c.name == name.lower()))
    if gone.rowcount == 0:
        raise UnknownToken(f"There is no token {name[:64]!r}.")


def find(connection: Connection, secret: str, address: str) -> tuple[Identity, bool] | None:
    """Who has that token, and whether it is time to :func:`touch`; None = nobody."""
    if not 0 < len(secret) <= LONGEST:
        return None
    now = time.time()
    query = sa.select(tokens).where(tokens.c.digest == digest(secret))
    row = connection.execute(query).one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    who = Identity(user=row.name, role=Role(row.role), via=Via.TOKEN, address=address)
    return who, now - (row.used_at or 0.0) >= _NOTE_SECONDS


def lives(connection: Connection, name: str) -> bool:
    """Whether there still is a token of that name that has not expired."""
    query = sa.select(tokens.c.expires_at).where(tokens.c.name == name)
    row = connection.execute(query).one_or_none()
    return row is not None and (row.expires_at is None or row.expires_at > time.time())


def touch(connection: Connection, name: str) -> None:
    """Note that the token was used."""
    mine = tokens.c.name == name
    connection.execute(sa.update(tokens).where(mine).values(used_at=time.time()))
