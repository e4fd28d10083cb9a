"""The one exception tree of the gateway.

::

    GatewayError
    ├── Transient          may go right by itself: retried with back-off
    └── Permanent          stays wrong until a person changes something
        └── Refused        the caller asked for something that is not allowed or not there

Each room derives its own errors from these, so a task boundary can decide between "try again"
and "tell a person" without knowing the room.  The message is a whole sentence for a person: it
names the file, line, key, UID or peer, what was wrong and what is allowed, and never holds
patient data.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Anything the gateway itself knows to be wrong."""


class Transient(GatewayError):  # noqa: N818 - a policy word, read as "raise Transient"
    """A fault that may pass by itself.

    ``retry_after`` is the shortest sensible wait in seconds, or None when the caller's own
    back-off should decide.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(GatewayError):  # noqa: N818
    """A fault that repeats until a person changes something."""


class Refused(Permanent):
    """A request that is not allowed in the present state, or names something that is not there."""
