"""One instance that lies in the spool, on its way into the index."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.payloads.head import Head
from gateway.payloads.receiving import Arrival


@dataclass(frozen=True)
class Received:
    """What the index is told of an instance."""

    arrival: Arrival
    head: Head
    path: str
    """Relative to data-dir."""
    size: int
    """Bytes of the data set."""
    digest: str
    """XXH3-128 of the data set's bytes as sent, hex."""
    received_at: float
