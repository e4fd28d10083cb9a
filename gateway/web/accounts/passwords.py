"""Passwords: hashed with argon2id (RFC 9106), and equally much work for users who do not exist."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import Refused, Transient

SHORTEST = 10
LONGEST = 256
"""Shortest and longest password, in characters."""
AT_ONCE = 2
"""Hashes computed at once: each takes 64 MiB."""
WAIT_SECONDS = 5.0
"""Longest wait for a turn."""

# The second recommendation of RFC 9106, section 4: 64 MiB, three passes.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
# Of no password: as long as it takes to check one, so long it takes to refuse a stranger.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$Z2F0ZXdheS1ub2JvZHktMQ"
    "$qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo"
)


class WeakPassword(Refused):
    """The password is too easy to guess."""


class Busy(Transient):
    """Too many people sign in at this moment."""


class Passwords:
    """Hashes and checks; any thread, a few at once."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def hash(self, password: str, user: str) -> str:
        """What is stored of ``password``; raises :class:`WeakPassword` and :class:`Busy`."""
        _check_strength(password, user)
        with self._turn():
            return _HASHER.hash(password)

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is the one of ``stored``; None = there is no such user.

        Takes the same time in either case.  Raises :class:`Busy`.
        """
        with self._turn():
            try:
                _HASHER.verify(stored or _NOBODY, password)
            except (VerificationError, InvalidHashError):
                return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """True when the hash was made with less work than today's."""
        return _HASHER.check_needs_rehash(stored)

    def _turn(self) -> _Turn:
        return _Turn(self._turns)


class _Turn:
    """Holds one of the turns."""

    def __init__(self, turns: threading.BoundedSemaphore) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        if not self._turns.acquire(timeout=WAIT_SECONDS):
            raise Busy("Too many people sign in at this moment.", retry_after=WAIT_SECONDS)

    def __exit__(self, *_exception: object) -> None:
        self._turns.release()


def _check_strength(password: str, user: str) -> None:
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(f"A password has {SHORTEST} to {LONGEST} characters.")
    if len(set(password)) < 4:  # fewer than a PIN has
        raise WeakPassword("The password repeats the same few characters.")
    if user.lower() in password.lower() and len(password) < len(user) + SHORTEST:
        raise WeakPassword("The password is the user's name with little else.")
