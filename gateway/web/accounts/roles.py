"""What somebody may do, and who that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each may do what the one before may, and more."""

    VIEWER = "viewer"
    """Looks."""
    OPERATOR = "operator"
    """Acts on jobs, results, payloads and destinations."""
    ADMINISTRATOR = "administrator"
    """Also decides about users, tokens and pipelines; sees settings and the audit list."""

    def reaches(self, wanted: Role) -> bool:
        """True when this role may do what ``wanted`` may."""
        return _ORDER.index(self) >= _ORDER.index(wanted)


_ORDER = tuple(Role)


class Via(StrEnum):
    """How somebody was let in."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a word, no secret
    OPEN = "open"
    """The gateway has no users and listens on loopback only."""
    SIGN_IN = "sign-in"
    """Not yet: it is the attempt itself."""
    CLI = "cli"
    """The command line on the gateway's machine, on the database itself."""


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    user: str | None
    """Name of the user, or of the token; None = nobody in particular."""
    role: Role | None
    via: Via
    address: str | None = None
    """Where the request comes from; None = from this machine, without HTTP."""
    session: str | None = None
    """Digest of the session, for whoever must know whether it still lives."""
    csrf: str | None = None
    """What a changing call of this session must carry."""
    expires_at: float | None = None

    def may(self, wanted: Role) -> bool:
        """True when the role reaches."""
        return self.role is not None and self.role.reaches(wanted)
