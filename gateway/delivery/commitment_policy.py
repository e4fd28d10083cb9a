"""How patient and how stubborn storage commitment is, both ways."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.results.backoff import Backoff


@dataclass(frozen=True)
class CommitmentPolicy:
    """Numbers of storage commitment; tests pass smaller ones.  Seconds."""

    report_seconds: float = 900.0
    """How long a report may take before it is asked for again; doubles from try to try."""
    report_cap_seconds: float = 6 * 3600.0
    """The longest of these waits."""
    same_association_seconds: float = 5.0
    """How long the association stays open for a report after the last request."""
    backoff: Backoff = field(default_factory=lambda: Backoff(10.0, 1800.0))
    """After a request that was not accepted, or a report that says "not now"."""
    tries: int = 12
    """Requests in a row without a commitment before the result is FAILED; a destination that
    cannot be reached is tried for ever."""
    resends: int = 3
    """Times an instance that the destination says it has not is sent again."""
    batch: int = 100
    """Most requests over one association."""
    poll_seconds: float = 1.0
    """Longest time until due work is seen without a wake-up."""
    stop_seconds: float = 10.0
    """How long a stop waits for associations to end by themselves."""
    remember_seconds: float = 30 * 86400.0
    """How long after its end a transaction is still known, for reports that come late."""
    index_seconds: float = 30.0
    """How long an instance that a modality asks about may take from its receipt to the index."""
    tell_tries: int = 24
    """Tries to tell a modality; the last comes half a day after the first."""
    same_association_limit: float = 900.0
    """How long a report waits for the association that asked."""

    def patience(self, tries: int) -> float:
        """How long to wait for a report after the request number ``tries``."""
        return min(self.report_cap_seconds, self.report_seconds * float(2 ** min(tries - 1, 20)))
