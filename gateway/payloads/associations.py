"""The record of associations: every one that was opened, closed or rejected, with its reason.

States (contract, section 6)::

    OPEN ──released──▶ RELEASED        REJECTED is written at once
      └────aborted──▶ ABORTED          OPEN of a dead process becomes ABORTED at the next start
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.database.schema import associations, new_id
from gateway.errors import Transient
from gateway.events.record import Kind, record
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Security:
    """How an association over TLS is protected."""

    tls: str
    """Protocol version and cipher suite."""
    certificate: str | None
    """Common name and organisation of the peer's certificate; None when it showed none."""


@dataclass(frozen=True)
class _End:
    """How and when an association ended."""

    state: str
    reason: str
    at: float


class Associations:
    """Writes association records and knows when each open one last sent a byte.

    Made once per process; every method may be called from any thread.  The clock of the last
    byte lives in memory on purpose: it only ever delays completion, and after a restart no
    association is open.
    """

    def __init__(self, database: Database, wakeups: Wakeups) -> None:
        self._database = database
        self._wakeups = wakeups
        self._last_byte: dict[str, float] = {}
        self._unrecorded: dict[str, _End] = {}
        self._lock = threading.Lock()

    def recover(self) -> int:
        """Close what a dead process left OPEN; returns how many.  Call before listening."""
        now = time.time()
        with self._database.begin() as connection:
            rows = connection.execute(
                sa.update(associations)
                .where(associations.c.state == "OPEN")
                .values(state="ABORTED", reason="the gateway was restarted", closed_at=now)
                .returning(associations.c.id)
            ).all()
            for (association_id,) in rows:
                data = {"state": "ABORTED", "reason": "the gateway was restarted"}
                record(
                    connection,
                    Kind.ASSOCIATION_CLOSED,
                    association_id=association_id,
                    correlation_id=association_id,
                    data=data,
                )
        return len(rows)

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
        more = {"tls": security.tls, "certificate": security.certificate} if security else {}
        self._insert(association_id, called_ae, calling_ae, host, port, "OPEN", None, **more)
        self.touch(association_id)
        return association_id

    def rejected(self, called_ae: str, calling_ae: str, host: str, port: int, reason: str) -> str:
        """Record an association that was refused, with the reason a person can act on.

        Raises :class:`Transient` when the record cannot be written.
        """
        association_id = new_id()
        self._insert(association_id, called_ae, calling_ae, host, port, "REJECTED", reason)
        return association_id

    def touch(self, association_id: str) -> None:
        """Note that a byte arrived just now."""
        self._last_byte[association_id] = time.time()

    def last_byte(self, association_id: str) -> float | None:
        """When the open association last sent a byte; None when it is not open here."""
        return self._last_byte.get(association_id)

    def closed(self, association_id: str, *, released: bool, reason: str = "") -> None:
        """Record the end of an association; the second call for the same one does nothing.

        An end that cannot be recorded now (the disk is full, the database away) is kept in
        memory for :meth:`settle`; a restart closes what is still OPEN.
        """
        end = _End("RELEASED" if released else "ABORTED", reason, time.time())
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

    def _record_end(self, association_id: str, end: _End) -> None:
        with self._database.begin() as connection:
            changed = connection.execute(
                sa.update(associations)
                .where(associations.c.id == association_id, associations.c.state == "OPEN")
                .values(state=end.state, reason=end.reason or None, closed_at=end.at)
                .returning(associations.c.instances, associations.c.bytes)
            ).one_or_none()
            if changed is not None:
                record(
                    connection,
                    Kind.ASSOCIATION_CLOSED,
                    association_id=association_id,
                    correlation_id=association_id,
                    data={
                        "state": end.state,
                        "reason": end.reason,
                        "instances": changed.instances,
                    },
                )
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

    def _insert(
        self,
        association_id: str,
        called_ae: str,
        calling_ae: str,
        host: str,
        port: int,
        state: str,
        reason: str | None,
        **more: str | None,
    ) -> None:
        now = time.time()
        rejected = state == "REJECTED"
        with self._recording() as connection:
            connection.execute(
                sa.insert(associations).values(
                    id=association_id,
                    called_ae=called_ae,
                    calling_ae=calling_ae,
                    host=host,
                    port=port,
                    state=state,
                    reason=reason,
                    opened_at=now,
                    closed_at=now if rejected else None,
                    **more,
                )
            )
            record(
                connection,
                Kind.ASSOCIATION_REJECTED if rejected else Kind.ASSOCIATION_OPENED,
                association_id=association_id,
                correlation_id=association_id,
                data={
                    "called_ae": called_ae,
                    "calling_ae": calling_ae,
                    "host": host,
                    "state": state,
                    "reason": reason,
                },
                at=now,
            )
        self._wakeups.notify(Topic.EVENTS)
