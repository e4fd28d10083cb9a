"""What the DICOM edge asks of the spool: the one interface between the wire and the records.

The edge opens an :class:`Incoming` per C-STORE request, writes the data set's bytes as they
arrive and asks for the status to answer.  When :meth:`Incoming.commit` returns Success, the
instance and its index record survive what the setting ``durability`` promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class Status(IntEnum):
    """C-STORE response statuses the gateway gives (PS3.4 Table B.2-1, PS3.7 Annex C)."""

    SUCCESS = 0x0000
    DUPLICATE_SOP_INSTANCE = 0x0111
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    CANNOT_UNDERSTAND = 0xC000
    PROCESSING_FAILURE = 0x0110


@dataclass(frozen=True)
class Arrival:
    """A C-STORE request before its data set: where it comes from and what it says it is."""

    association_id: str
    called_ae: str
    calling_ae: str
    host: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True)
class Security:
    """How an association over TLS is protected."""

    tls: str
    """Protocol version and cipher suite."""
    certificate: str | None
    """Common name and organisation of the peer's certificate; None when it showed none."""


@dataclass(frozen=True)
class Outcome:
    """What to answer: a status and, for failures, an Error Comment (LO, at most 64 characters)."""

    status: Status
    comment: str = ""


class Incoming(Protocol):
    """One instance on its way in; used by one thread."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes of the data set; the buffer may be reused after the call.

        Never raises for a full disk: the fault is kept and answered by :meth:`commit`.
        """

    def commit(self) -> Outcome:
        """End the instance: make it durable, index it, and say what to answer.

        Never raises; an unexpected fault is logged and answered as PROCESSING_FAILURE.
        """

    def abort(self) -> None:
        """Forget the instance (the association ended within it); idempotent, never raises."""


class Spool(Protocol):
    """Where instances go; used by many threads."""

    def open(self, arrival: Arrival) -> Incoming:
        """Begin an instance; never raises."""


class AssociationRecords(Protocol):
    """Where associations are recorded; used by many threads."""

    def opened(
        self,
        called_ae: str,
        calling_ae: str,
        host: str,
        port: int,
        security: Security | None = None,
    ) -> str:
        """Record an accepted association; returns its identifier, the correlation id.

        Raises :class:`~gateway.errors.Transient` when the record cannot be written.
        """

    def rejected(self, called_ae: str, calling_ae: str, host: str, port: int, reason: str) -> str:
        """Record an association that was refused, with the reason a person can act on.

        Raises :class:`~gateway.errors.Transient` when the record cannot be written.
        """

    def touch(self, association_id: str) -> None:
        """Note that a byte arrived just now."""

    def closed(self, association_id: str, *, released: bool, reason: str = "") -> None:
        """Record the end of an association; the second call for the same one does nothing."""
