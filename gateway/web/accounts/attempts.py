"""How often somebody may try to sign in: failures count per address and per user.

A try takes its place before the password is checked and gives it back when it was right, so tries
at the same time do not slip through together.  Counters live in memory: a restart forgets them,
and costs an attacker more than it gives.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from gateway.config.http import SignInSettings
from gateway.errors import Transient

MOST = 10_000
"""Addresses and users that are remembered; those that failed longest ago are forgotten first."""


class TooMany(Transient):
    """Too many failures from there, or for that user, lately."""


class Attempts:
    """The failures of the last minutes; any thread."""

    def __init__(self, limits: SignInSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def take(self, address: str, user: str) -> float:
        """Begin a try; returns what :meth:`give_back` takes.  Raises :class:`TooMany`."""
        now = self._clock()
        with self._lock:
            waits = [self._wait(key, most, now) for key, most in self._keys(address, user)]
            if max(waits) > 0:
                raise TooMany(
                    "Too many failed attempts to sign in; wait before the next one.",
                    retry_after=max(waits),
                )
            for key, _ in self._keys(address, user):
                self._failures.setdefault(key, deque()).append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > MOST:
                self._failures.popitem(last=False)
        return now

    def give_back(self, address: str, user: str, taken: float) -> None:
        """The try was right: forget it, and what failed for that user from that address."""
        with self._lock:
            for key, _ in self._keys(address, user):
                times = self._failures.get(key)
                if times is not None and taken in times:
                    times.remove(taken)
                if not times:
                    self._failures.pop(key, None)

    def _keys(self, address: str, user: str) -> tuple[tuple[tuple[str, str], int], ...]:
        limits = self._limits
        return (
            (("address", _network(address)), limits.failures_per_address),
            (("user", user.lower()[:64]), limits.failures_per_user),
        )

    def _wait(self, key: tuple[str, str], most: int, now: float) -> float:
        """Seconds until one more try of ``key`` is allowed; 0 = now."""
        times = self._failures.get(key)
        if times is None:
            return 0.0
        window = self._limits.window_minutes * 60
        while times and times[0] <= now - window:
            times.popleft()
        if not times:
            del self._failures[key]
            return 0.0
        return times[-most] + window - now if len(times) >= most else 0.0


def _network(address: str) -> str:
    """IPv6 hosts have whole networks to call from: those count as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))
