"""Time and size limits of the DICOM edge; everything a peer controls has one."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.settings import DicomLimits
from gateway.dicom.dimse import MAX_COMMAND_LENGTH


@dataclass(frozen=True)
class Limits:
    """Limits of accepted associations; seconds unless said otherwise."""

    artim_seconds: float = 30.0
    """From the connection to a whole A-ASSOCIATE-RQ (the ARTIM timer of PS3.8 9.1.5)."""
    idle_seconds: float = 600.0
    """Between two messages: scanners keep an association open from one series to the next."""
    pdu_seconds: float = 120.0
    """For one PDU, from its header to its last byte: a 128 kB PDU at 1 kB/s."""
    message_seconds: float = 7200.0
    """For one message with its data set: 3 GB at 0.4 MB/s."""
    linger_seconds: float = 2.0
    """For the peer to close after the last PDU."""
    send_seconds: float = 60.0
    """Longest wait for a peer that does not read our answers."""
    peer_associations: int | None = None
    """Associations open at once per peer address; None = only the total counts."""
    contexts: int = 128
    """Presentation contexts one association may propose."""
    command_bytes: int = MAX_COMMAND_LENGTH
    """Longest command set, in bytes."""
    half_open: int = 2048
    """Connections that sent nothing yet; beyond it the oldest is dropped."""

    @classmethod
    def of(cls, settings: DicomLimits) -> Limits:
        """The limits that ``dicom.limits`` sets."""
        return cls(
            artim_seconds=settings.artim_seconds,
            idle_seconds=settings.idle_seconds,
            pdu_seconds=settings.pdu_seconds,
            message_seconds=settings.message_seconds,
            peer_associations=settings.associations_per_peer,
            contexts=settings.contexts,
            command_bytes=settings.command_bytes,
        )


@dataclass(frozen=True)
class RequestorTimeouts:
    """Time limits of associations this gateway opens, in seconds."""

    connect_seconds: float = 10.0
    """For the TCP connection."""
    associate_seconds: float = 30.0
    """For the answer to the A-ASSOCIATE-RQ."""
    response_seconds: float = 120.0
    """For the answer to one C-STORE or C-ECHO: a PACS may write to tape."""
    send_seconds: float = 60.0
    """Longest wait for a peer that does not read."""
    release_seconds: float = 10.0
    """For the answer to the A-RELEASE-RQ."""
