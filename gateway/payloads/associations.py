"""The record of associations: every one that was opened, closed or rejected, with its reason.

States (contract, section 6)::

    OPEN ──released──▶ RELEASED        REJECTED is written at once
      └────aborted──▶ ABORTED          OPEN of a dead process becomes ABORTED at the next start
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.database.schema import associations, new_id
from gateway.errors import Transient
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups
from gateway.payloads.receiving import Security

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opening:
    """An association that was asked for, by whom and when."""

    association_id: str
    called_ae: str
    calling_ae: str
    host: str
    port: int
    at: float
    security: Security | None = None


@dataclass(frozen=True)
class End:
    """How and when an association ended: state RELEASED or ABORTED."""

    state: str
    reason: str
    at: float


class LastBytes(Protocol):
    """Knows when associations of other processes last sent a byte."""

    def last_byte(self, association_id: str) -> float | None:
        """When the open association last sent a byte; None when it is not known."""


class Associations:
    """Writes association records and knows when each open one last sent a byte.

    Made once per process; every method may be called from any thread.  The clock of the last
    byte lives in memory on purpose: it only ever delays completion, and after a restart no
    association is open.  ``elsewhere`` knows the associations of receiver processes.
    """

    def __init__(
        self, database: Database, wakeups: Wakeups, elsewhere: LastBytes | None = None
    ) -> None:
        self._elsewhere = elsewhere
        self._database = database
        self._wakeups = wakeups
        self._last_byte: dict[str, float] = {}
        self._unrecorded: dict[str, End] = {}
        self._lock = threading.Lock()

    def recover(self) -> int:
        """Close what a dead process left OPEN; returns how many.  Call before listening."""
        return self.abort(None, "the gateway was restarted")

    def abort(self, ids: Iterable[str] | None, reason: str) -> int:
        """Close those of ``ids`` (None = all) that are OPEN as aborted; returns how many."""
        query = sa.select(associations.c.id).where(associations.c.state == "OPEN")
        if ids is not None:
            query = query.where(associations.c.id.in_(list(ids)))
        end = End("ABORTED", reason, time.time())
        with self._database.begin() as connection:
            found = list(connection.execute(query).scalars())
            for association_id in found:
                record_end(connection, association_id, end)
        self._wakeups.notify(Topic.PAYLOADS, Topic.EVENTS)
        return len(found)

    def opened(
        self,
        called_ae: str,
        calling_ae: str,
        host: str,
        port: int,
        security: Security | None = None,
    ) -> str:
        """Record an accepted association; returns its identifier, the correlation id.

        Raises :class:`Transient` when the record cannot be written: what is not on record must
        not be accepted.
        """
        association_id = new_id()
        opening = Opening(association_id, called_ae, calling_ae, host, port, time.time(), security)
        self._insert(opening, None)
        self.touch(association_id)
        return association_id

    def rejected(self, called_ae: str, calling_ae: str, host: str, port: int, reason: str) -> str:
        """Record an association that was refused, with the reason a person can act on.

        Raises :class:`Transient` when the record cannot be written.
        """
        association_id = new_id()
        opening = Opening(association_id, called_ae, calling_ae, host, port, time.time())
        self._insert(opening, reason)
        return association_id

    def touch(self, association_id: str) -> None:
        """Note that a byte arrived just now."""
        self._last_byte[association_id] = time.time()

    def last_byte(self, association_id: str) -> float | None:
        """When the open association last sent a byte; None when it is not open here."""
        here = self._last_byte.get(association_id)
        if here is None and self._elsewhere is not None:
            return self._elsewhere.last_byte(association_id)
        return here

    def closed(self, association_id: str, *, released: bool, reason: str = "") -> None:
        """Record the end of an association; the second call for the same one does nothing.

        An end that cannot be recorded now (the disk is full, the database away) is kept in
        memory for :meth:`settle`; a restart closes what is still OPEN.
        """
        end = End("RELEASED" if released else "ABORTED", reason, time.time())
        try:
            self._record_end(association_id, end)
        except SQLAlchemyError as error:
            log.error(  # noqa: TRY400 - the trace of a full disk tells nothing more
                "the end of an association is not recorded yet",
                extra={"association_id": association_id, "error": type(error).__name__},
            )
            with self._lock:
                self._unrecorded[association_id] = end

    def settle(self) -> None:
        """Record the ends that could not be recorded; raises what the database raises."""
        with self._lock:
            ends = dict(self._unrecorded)
        for association_id, end in ends.items():
            self._record_end(association_id, end)
            with self._lock:
                self._unrecorded.pop(association_id, None)

    def _record_end(self, association_id: str, end: End) -> None:
        with self._database.begin() as connection:
            record_end(connection, association_id, end)
        with self._lock:
            self._last_byte.pop(association_id, None)
        self._wakeups.notify(Topic.PAYLOADS, Topic.EVENTS)

    @contextmanager
    def _recording(self) -> Iterator[Connection]:
        """A transaction whose failure is :class:`Transient`: the peer may come again later."""
        try:
            with self._database.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise Transient(
                f"the record of an association cannot be written ({type(error).__name__})"
            ) from error

    def _insert(self, opening: Opening, rejected: str | None) -> None:
        with self._recording() as connection:
            record_opening(connection, opening, rejected)
        self._wakeups.notify(Topic.EVENTS)


def record_opening(connection: Connection, opening: Opening, rejected: str | None) -> None:
    """Insert an association as OPEN, or as REJECTED for the reason ``rejected``."""
    state = "OPEN" if rejected is None else "REJECTED"
    security = opening.security
    connection.execute(
        sa.insert(associations).values(
            id=opening.association_id,
            called_ae=opening.called_ae,
            calling_ae=opening.calling_ae,
            host=opening.host,
            port=opening.port,
            tls=security.tls if security else None,
            certificate=security.certificate if security else None,
            state=state,
            reason=rejected,
            opened_at=opening.at,
            closed_at=None if rejected is None else opening.at,
        )
    )
    record(
        connection,
        Kind.ASSOCIATION_OPENED if rejected is None else Kind.ASSOCIATION_REJECTED,
        association_id=opening.association_id,
        correlation_id=opening.association_id,
        data={
            "called_ae": opening.called_ae,
            "calling_ae": opening.calling_ae,
            "host": opening.host,
            "state": state,
            "reason": rejected,
        },
        at=opening.at,
    )


def record_end(connection: Connection, association_id: str, end: End) -> None:
    """Close an association that is OPEN; nothing for any other."""
    changed = connection.execute(
        sa.update(associations)
        .where(associations.c.id == association_id, associations.c.state == "OPEN")
        .values(state=end.state, reason=end.reason or None, closed_at=end.at)
        .returning(associations.c.instances)
    ).one_or_none()
    if changed is None:
        return
    record(
        connection,
        Kind.ASSOCIATION_CLOSED,
        association_id=association_id,
        correlation_id=association_id,
        data={"state": end.state, "reason": end.reason, "instances": changed.instances},
        at=end.at,
    )
