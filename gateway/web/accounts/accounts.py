"""The accounts of one gateway: who somebody is, signing in and out, and what administrators do.

Every method may be called from any thread, and works in transactions of its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.http import HttpSettings
from gateway.database.engine import Database
from gateway.errors import Refused
from gateway.web.accounts import audit, sessions, tokens, users
from gateway.web.accounts.attempts import Attempts
from gateway.web.accounts.passwords import Passwords
from gateway.web.accounts.roles import Identity, Role, Via


class WrongPassword(Refused):
    """User and password do not belong together; says not which of them is wrong."""


@dataclass(frozen=True)
class Shown:
    """What a caller shows to be let in."""

    address: str
    cookie: str | None = None
    """What the session's cookie holds."""
    token: str | None = None
    """A bearer token; it goes before a cookie."""
    forwarded: bool = False
    """A proxy passed the call on: it comes from elsewhere, whatever the address says."""

    @property
    def local(self) -> bool:
        """True when a program of this machine asks."""
        try:
            found = ipaddress.ip_address(self.address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback and not self.forwarded


class Accounts:
    """Made once by the web application."""

    def __init__(self, database: Database, http: HttpSettings) -> None:
        self._database = database
        self._http = http
        self._passwords = Passwords()
        self._attempts = Attempts(http.sign_in)

    def identify(self, shown: Shown) -> Identity:
        """Who asks; an identity without a role = nobody who is known."""
        with self._database.read() as connection:
            found = None
            if shown.token is not None:
                found = tokens.find(connection, shown.token, shown.address)
            elif shown.cookie is not None:
                limits = self._http.sessions
                found = sessions.find(connection, shown.cookie, shown.address, limits)
            if found is None:
                return self._stranger(shown, somebody=users.any_user(connection))
        who, stale = found
        if stale:
            self._touch(who)
        return who

    def missing(self) -> bool:
        """True when no user exists: nobody can sign in."""
        with self._database.read() as connection:
            return not users.any_user(connection)

    def lives(self, who: Identity) -> bool:
        """Whether what let somebody in still would."""
        with self._database.read() as connection:
            if who.via is Via.SESSION:
                return sessions.lives(connection, who.session or "", self._http.sessions)
            if who.via is Via.TOKEN:
                return tokens.lives(connection, who.user or "")
            return not users.any_user(connection)

    def sign_in(self, user: str, password: str, address: str) -> tuple[str, Identity]:
        """Begin a session: what the cookie is to hold, and who it is.

        Raises :class:`WrongPassword`, and :class:`~gateway.errors.Transient` for too many tries.
        """
        taken = self._attempts.take(address, user)
        with self._database.read() as connection:
            row = users.find(connection, user)
        # A disabled user's password is checked too: the answer takes as long as any other.
        known = row is not None and not row.disabled
        right = self._passwords.matches(row.password if row is not None else None, password)
        if row is None or not known or not right:
            self._note_failure(None if row is None else row.name, address)
            raise WrongPassword("User and password do not belong together.")
        self._attempts.give_back(address, user, taken)
        fresh = None
        if self._passwords.outdated(row.password):
            fresh = self._passwords.hash(password, row.name)
        with self._database.begin() as connection:
            current = users.find(connection, row.name)
            if current is None or current.disabled or current.password != row.password:
                raise WrongPassword("User and password do not belong together.")
            if fresh is not None:
                users.rehash(connection, row.name, fresh)
            users.seen(connection, row.name)
            secret, _ = sessions.begin(connection, row.name, address, self._http.sessions)
            found = sessions.find(connection, secret, address, self._http.sessions)
            if found is None:
                raise WrongPassword("The session ended as it began.")
            who = found[0]
            audit.note(connection, who, "POST /api/v1/session", status=200)
        return secret, who

    def sign_out(self, who: Identity) -> None:
        """End the session that let ``who`` in."""
        if who.session is not None:
            with self._database.begin() as connection:
                sessions.end(connection, who.session)

    def change_own_password(self, who: Identity, current: str, password: str) -> None:
        """Give a user another password; all sessions of the user end.

        Raises :class:`WrongPassword`, :class:`~gateway.web.accounts.passwords.WeakPassword`, and
        :class:`Refused` for a token or an open gateway.
        """
        if who.via is not Via.SESSION or who.user is None or who.address is None:
            raise Refused("Only who signed in has a password to change.")
        taken = self._attempts.take(who.address, who.user)
        with self._database.read() as connection:
            row = users.find(connection, who.user)
        stored = None if row is None else row.password
        if not self._passwords.matches(stored, current):
            raise WrongPassword("The current password is another one.")
        self._attempts.give_back(who.address, who.user, taken)
        self.change_user(who.user, password=password)

    def list_users(self) -> list[dict[str, Any]]:
        """Every user by name."""
        with self._database.read() as connection:
            return users.listing(connection)

    def create_user(self, name: str, role: Role, password: str) -> dict[str, Any]:
        """Add a user; raises :class:`Refused` for a taken name and for a weak password."""
        hashed = self._passwords.hash(password, users.plain(name))
        with self._database.begin() as connection:
            return users.create(connection, name, role, hashed)

    def change_user(
        self,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> dict[str, Any]:
        """Change a user, who loses all sessions; raises as :func:`users.change` does."""
        hashed = None if password is None else self._passwords.hash(password, name)
        with self._database.begin() as connection:
            return users.change(connection, name, role=role, password=hashed, disabled=disabled)

    def remove_user(self, name: str, *, last: bool = False) -> None:
        """Delete a user; raises as :func:`users.remove` does."""
        with self._database.begin() as connection:
            users.remove(connection, name, last=last)

    def list_tokens(self) -> list[dict[str, Any]]:
        """Every token by name."""
        with self._database.read() as connection:
            return tokens.listing(connection)

    def create_token(
        self, name: str, role: Role, days: float | None, by: str | None
    ) -> tuple[dict[str, Any], str]:
        """Make a token: its record and the secret; raises as :func:`tokens.create` does."""
        with self._database.begin() as connection:
            return tokens.create(connection, name, role, days=days, by=by)

    def remove_token(self, name: str) -> None:
        """Revoke a token; raises :class:`tokens.UnknownToken`."""
        with self._database.begin() as connection:
            tokens.remove(connection, name)

    def note(self, who: Identity, action: str, target: str | None, data: Mapping[str, Any]) -> int:
        """Write into the audit list what is about to be done; returns the entry's number."""
        with self._database.begin() as connection:
            return audit.note(connection, who, action, target=target, data=data)

    def complete(self, number: int, status: int) -> None:
        """Add how it was answered."""
        with self._database.begin() as connection:
            audit.complete(connection, number, status)

    def _stranger(self, shown: Shown, *, somebody: bool) -> Identity:
        # A proxy on this machine brings callers from anywhere: that is not what open is meant for.
        open_to_all = not somebody and self._http.on_loopback and shown.local
        if open_to_all:
            return Identity(None, Role.ADMINISTRATOR, Via.OPEN, shown.address)
        return Identity(None, None, Via.SIGN_IN, shown.address)

    def _touch(self, who: Identity) -> None:
        with self._database.begin() as connection:
            if who.session is not None:
                sessions.touch(connection, who.session)
            elif who.user is not None:
                tokens.touch(connection, who.user)

    def _note_failure(self, user: str | None, address: str) -> None:
        # What was typed in the place of a name that is none may be a password: it is not kept.
        who = Identity(user, None, Via.SIGN_IN, address)
        with self._database.begin() as connection:
            audit.note(connection, who, "POST /api/v1/session", status=401)
