"""Local users: their records.

Every function works in the caller's transaction.  Names are compared, and kept, in small letters.
A user who gets another password, role or state loses all sessions.
"""

from __future__ import annotations

import re
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from gateway.database.schema import sessions, users
from gateway.errors import Refused
from gateway.web.accounts.roles import Role

NAME = r"[a-z0-9][a-z0-9._@-]{0,62}"
"""What the name of a user or token looks like, in small letters."""
_SHOWN = (
    users.c.name, users.c.role, users.c.disabled, users.c.created_at, users.c.password_at,
    users.c.seen_at,
)  # fmt: skip


class UnknownUser(Refused):
    """There is no user of that name."""


class BadName(Refused):
    """The text is no name of a user or token."""


def plain(name: str) -> str:
    """``name`` as it is kept; raises :class:`BadName`."""
    lower = name.lower()
    if re.fullmatch(NAME, lower, re.ASCII) is None:
        raise BadName(
            "A name has 1 to 63 letters, digits and . _ @ -, and begins with a letter or digit."
        )
    return lower


def any_user(connection: Connection) -> bool:
    """True when at least one user exists, disabled ones too: the gateway is not open then."""
    return connection.execute(sa.select(users.c.name).limit(1)).first() is not None


def find(connection: Connection, name: str) -> Row[Any] | None:
    """The whole row of a user, the hash included; None for a name that is none."""
    return connection.execute(sa.select(users).where(users.c.name == name.lower())).one_or_none()


def listing(connection: Connection) -> list[dict[str, Any]]:
    """Every user by name, without the hash."""
    rows = connection.execute(sa.select(*_SHOWN).order_by(users.c.name)).mappings()
    return [dict(row) for row in rows]


def shown(connection: Connection, name: str) -> dict[str, Any]:
    """One user, without the hash; raises :class:`UnknownUser`."""
    query = sa.select(*_SHOWN).where(users.c.name == name.lower())
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise UnknownUser(f"There is no user {name[:64]!r}.")
    return dict(row)


def create(connection: Connection, name: str, role: Role, password: str) -> dict[str, Any]:
    """Add a user; ``password`` is the hash.  Raises :class:`Refused` for a name that is taken."""
    name = plain(name)
    if find(connection, name) is not None:
        raise Refused(f"There is a user {name!r} already.")
    now = time.time()
    row = {"name": name, "role": role.value, "password": password, "disabled": False}
    connection.execute(sa.insert(users).values(**row, created_at=now, password_at=now))
    return shown(connection, name)


def change(
    connection: Connection,
    name: str,
    *,
    role: Role | None = None,
    password: str | None = None,
    disabled: bool | None = None,
) -> dict[str, Any]:
    """Change what is given (``password`` is the hash) and end the user's sessions.

    Raises :class:`UnknownUser`, and :class:`Refused` when no administrator would be left.
    """
    found = shown(connection, name)
    loses = disabled is True or (role is not None and role is not Role.ADMINISTRATOR)
    if loses:
        _keep_an_administrator(connection, found["name"])
    values: dict[str, Any] = {}
    if role is not None:
        values["role"] = role.value
    if password is not None:
        values |= {"password": password, "password_at": time.time()}
    if disabled is not None:
        values["disabled"] = disabled
    if values:
        mine = users.c.name == found["name"]
        connection.execute(sa.update(users).where(mine).values(**values))
        _end_sessions(connection, found["name"])
    return shown(connection, name)


def remove(connection: Connection, name: str, *, last: bool = False) -> None:
    """Delete a user with all sessions.

    Raises :class:`UnknownUser`; and, unless ``last`` allows it, :class:`Refused` when no
    administrator would be left: without users a gateway on loopback is open to everybody there.
    """
    found = shown(connection, name)
    if not last:
        _keep_an_administrator(connection, found["name"])
    _end_sessions(connection, found["name"])
    connection.execute(sa.delete(users).where(users.c.name == found["name"]))


def seen(connection: Connection, name: str) -> None:
    """Note that the user signed in."""
    mine = users.c.name == name
    connection.execute(sa.update(users).where(mine).values(seen_at=time.time()))


def _keep_an_administrator(connection: Connection, name: str) -> None:
    others = sa.select(users.c.name).where(
        users.c.name != name,
        users.c.role == Role.ADMINISTRATOR.value,
        users.c.disabled.is_(False),
    )
    if connection.execute(others.limit(1)).first() is None:
        raise Refused(f"{name!r} is the last administrator who can sign in.")


def _end_sessions(connection: Connection, name: str) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.user == name))


def rehash(connection: Connection, name: str, password: str) -> None:
    """Keep the same password with today's work; sessions live on."""
    connection.execute(sa.update(users).where(users.c.name == name).values(password=password))
