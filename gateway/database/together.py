"""Small write transactions of many threads, committed together: one flush for all who wait.

A flush costs the same for one record as for sixty.  Whoever comes while nobody leads opens a
transaction and takes along everybody who has come by then; the others wait for its commit.  Alone,
a caller waits for nobody.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy.engine import Connection

from gateway.database.engine import Database

MOST = 64
"""Most changes in one transaction."""

T = TypeVar("T")


class Together:
    """Runs changes of any thread, several in one transaction; one of these per database and use."""

    def __init__(self, database: Database, most: int = MOST) -> None:
        self._database = database
        self._most = most
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Turn[Any]] = collections.deque()
        self._led = False

    def run(self, change: Callable[[Connection], T]) -> T:
        """Carry out ``change`` in a write transaction: committed (durable) when this returns.

        Raises what ``change`` raises; then nothing of it is written, and the others' changes are.
        It may be called twice for one commit, so it changes nothing but records.
        """
        turn = _Turn(change)
        with self._lock:
            self._waiting.append(turn)
            leads, self._led = not self._led, True
        if leads or turn.wait_to_lead():
            self._lead(turn)
        return turn.result()

    def _lead(self, mine: _Turn[Any]) -> None:
        """Carry out what waits, and let the next who waits lead."""
        batch: list[_Turn[Any]] = []
        try:
            self._carry_out(batch)
        except Exception as error:  # noqa: BLE001 - handed to the callers, who raise it
            for turn in batch or [mine]:
                turn.failed(error)
        finally:
            self._hand_on(batch)

    def _hand_on(self, batch: list[_Turn[Any]]) -> None:
        """Wake who was carried along, and the next leader; whatever ended this one."""
        with self._lock:
            if not batch:
                # No transaction could begin: the leader is the first who waits, and gives up.
                self._waiting.popleft()
            self._led = bool(self._waiting)
            if self._led:
                self._waiting[0].lead()
        for turn in batch:
            if not turn.over:
                turn.failed(RuntimeError("the thread that led the transaction was ended"))
            turn.tell()

    def _carry_out(self, batch: list[_Turn[Any]]) -> None:
        """Everything that waits in one transaction; one by one when one of them fails."""
        try:
            with self._database.begin() as connection:
                # Only now: more have come while others held the database.
                with self._lock:
                    count = min(self._most, len(self._waiting))
                    batch += [self._waiting.popleft() for _ in range(count)]
                for turn in batch:
                    turn.carry_out(connection)
        except _ChangeFailed:
            for turn in batch:
                self._alone(turn)

    def _alone(self, turn: _Turn[Any]) -> None:
        try:
            with self._database.begin() as connection:
                turn.carry_out(connection)
        except _ChangeFailed as failure:
            turn.failed(failure.error)
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
            turn.failed(error)


class _ChangeFailed(Exception):  # noqa: N818 - never seen outside
    """A change raised, not the transaction around it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Turn(Generic[T]):
    """One caller's change and what became of it."""

    def __init__(self, change: Callable[[Connection], T]) -> None:
        self._change = change
        self._woken = threading.Event()
        self._leads = False
        self._value: T | None = None
        self._error: Exception | None = None
        self.over = False
        """True when it was carried out or has failed."""

    def wait_to_lead(self) -> bool:
        """Wait until it is over or its caller has to lead; True for the latter."""
        self._woken.wait()
        return self._leads

    def lead(self) -> None:
        """Let its caller lead."""
        self._leads = True
        self._woken.set()

    def tell(self) -> None:
        """Let its caller go on."""
        self._woken.set()

    def carry_out(self, connection: Connection) -> None:
        """Make the change; raises :class:`_ChangeFailed`."""
        try:
            self._value = self._change(connection)
        except Exception as error:
            raise _ChangeFailed(error) from error
        self.over = True

    def failed(self, error: Exception) -> None:
        """It was not committed."""
        self.over, self._error = True, error

    def result(self) -> T:
        """What the change returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
