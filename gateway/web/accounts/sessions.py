"""Sessions of people who signed in: only a digest of what the cookie holds is kept.

A session ends when it was idle too long, when its time is over whatever is done with it, when it
is signed out, and when its user gets another password, role or state.  It survives a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.config.http import SessionSettings
from gateway.database.schema import sessions, users
from gateway.web.accounts.roles import Identity, Role, Via

COOKIE = "gateway_session"
LONGEST = 128
"""Longest value of the cookie that is looked at, in characters."""
MOST_PER_USER = 20
"""Sessions of one user at once; the oldest ends for one more."""
_NOTE_SECONDS = 30.0
"""How exactly it is known when a session was last used."""


def begin(
    connection: Connection, user: str, address: str, limits: SessionSettings
) -> tuple[str, float]:
    """Begin a session: what the cookie is to hold, and when the session ends at the latest."""
    secret = secrets.token_urlsafe(32)
    now = time.time()
    _tidy(connection, user, now)
    expires = now + limits.hours * 3600
    row = {"digest": digest(secret), "user": user, "address": address, "expires_at": expires}
    connection.execute(sa.insert(sessions).values(**row, created_at=now, seen_at=now))
    return secret, expires


def find(
    connection: Connection, secret: str, address: str, limits: SessionSettings
) -> tuple[Identity, bool] | None:
    """Who has that cookie, and whether it is time to :func:`touch`; None = nobody any more."""
    if not 0 < len(secret) <= LONGEST:
        return None
    row = _row(connection, digest(secret), limits)
    if row is None:
        return None
    who = Identity(
        user=row.user,
        role=Role(row.role),
        via=Via.SESSION,
        address=address,
        session=row.digest,
        csrf=csrf(secret),
        expires_at=row.expires_at,
    )
    return who, time.time() - row.seen_at >= _NOTE_SECONDS


def lives(connection: Connection, session: str, limits: SessionSettings) -> bool:
    """Whether the session of that digest still is one."""
    return _row(connection, session, limits) is not None


def touch(connection: Connection, session: str) -> None:
    """Note that the session was used."""
    mine = sessions.c.digest == session
    connection.execute(sa.update(sessions).where(mine).values(seen_at=time.time()))


def end(connection: Connection, session: str) -> None:
    """Sign out; idempotent."""
    connection.execute(sa.delete(sessions).where(sessions.c.digest == session))


def digest(secret: str) -> str:
    """What is kept of a cookie or token: 256 random bits need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def csrf(secret: str) -> str:
    """The token that proves that a page of ours asks: derived, so that nothing else is kept."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hexdigest()


def _row(connection: Connection, session: str, limits: SessionSettings) -> Any:
    now = time.time()
    s = sessions.c
    query = (
        sa.select(s.digest, s.user, s.seen_at, s.expires_at, users.c.role)
        .join(users, users.c.name == s.user)
        .where(
            s.digest == session,
            s.expires_at > now,
            s.seen_at > now - limits.idle_minutes * 60,
            users.c.disabled.is_(False),
        )
    )
    return connection.execute(query).one_or_none()


def _tidy(connection: Connection, user: str, now: float) -> None:
    """Delete what is over, and the user's oldest sessions beyond the limit."""
    s = sessions.c
    connection.execute(sa.delete(sessions).where(s.expires_at <= now))
    kept = (
        sa.select(s.digest)
        .where(s.user == user)
        .order_by(s.created_at.desc())
        .limit(MOST_PER_USER - 1)
    )
    newest = list(connection.execute(kept).scalars())
    connection.execute(sa.delete(sessions).where(s.user == user, s.digest.not_in(newest)))
