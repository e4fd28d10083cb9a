"""Associations as a receiver records them: in the log, and on the board while they are open."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import Any

from gateway.errors import Transient
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.format import Kind
from gateway.payloads.intake.writer import LogWriter
from gateway.payloads.receiving import Security

log = logging.getLogger(__name__)


class LoggedAssociations:
    """The association records of one receiver; every method may be called from any thread."""

    def __init__(self, writer: LogWriter, board: Board) -> None:
        self._writer = writer
        self._board = board
        self._slots: dict[str, int] = {}
        # The slot that this thread took for the association it is about to open.
        self.taken = threading.local()

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
        association_id = uuid.uuid4().hex
        tls = [security.tls, security.certificate] if security else None
        self._append(Kind.OPENED, [association_id, called_ae, calling_ae, host, port], s=tls)
        slot = getattr(self.taken, "slot", None)
        if slot is not None:
            self._board.name(slot, association_id)
            self._slots[association_id] = slot
        return association_id

    def rejected(self, called_ae: str, calling_ae: str, host: str, port: int, reason: str) -> str:
        """Record an association that was refused, with the reason a person can act on.

        Raises :class:`Transient` when the record cannot be written.
        """
        association_id = uuid.uuid4().hex
        self._append(Kind.REJECTED, [association_id, called_ae, calling_ae, host, port], r=reason)
        return association_id

    def touch(self, association_id: str) -> None:
        """Note that a byte arrived just now."""
        slot = self._slots.get(association_id)
        if slot is not None:
            self._board.touch(slot)

    def closed(self, association_id: str, *, released: bool, reason: str = "") -> None:
        """Record the end of an association; the second call for the same one does nothing."""
        self._slots.pop(association_id, None)
        try:
            self._append(Kind.CLOSED, [association_id], released=released, r=reason)
        except Transient as error:
            # It stays OPEN until the receiver ends; completion then waits for quiet alone.
            log.warning("the end of an association is lost", extra={"error": str(error)})

    def _append(self, kind: Kind, who: list[str | int], **more: Any) -> None:
        try:
            self._writer.append(kind, {"w": who, "t": time.time()} | more)
        except OSError as error:
            raise Transient(
                f"the record of an association cannot be written ({error.strerror})"
            ) from error
