"""A peer this gateway calls, and what its refusals mean in words (PS3.8 9.3.4)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.applications import Destination
from gateway.config.tls import TlsSettings
from gateway.dicom.errors import RejectedForGood, RejectedForNow


@dataclass(frozen=True)
class Peer:
    """Where to call, whom, and as whom."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "GATEWAY"
    tls: TlsSettings | None = None
    """What to shake hands with first; None = no TLS."""

    @classmethod
    def of(cls, destination: Destination, tls: TlsSettings) -> Peer:
        """The peer behind a DICOM destination; ``tls`` is used if it says ``tls: true``."""
        if destination.ae_title is None or destination.host is None or destination.port is None:
            raise ValueError(f"{destination.name} is no DICOM destination")
        return cls(
            destination.ae_title,
            destination.host,
            destination.port,
            destination.calling_ae_title,
            tls if destination.tls else None,
        )

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


_REASONS: dict[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given (its ACSE)",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


def rejection(
    peer: Peer, result: int, source: int, reason: int
) -> RejectedForNow | RejectedForGood:
    """The fault of an A-ASSOCIATE-RJ.

    Result 2 is transient by the standard.  Source 3 (the presentation layer: congestion, limits)
    is too, whatever result a peer wraps it in.
    """
    words = _REASONS.get((source, reason), f"source {source}, reason {reason}")
    text = (
        f"{peer} rejected the association of {peer.calling_ae_title}: {words} "
        f"({result}/{source}/{reason})"
    )
    if result == 2 or source == 3:
        return RejectedForNow(text)
    return RejectedForGood(text)
