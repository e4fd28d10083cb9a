"""Who may open an association, as a table of refusals with their reasons (PS3.8 9.3.4).

No sockets and no records here: :func:`judge` takes what the peer asked and the AE
configuration in force, and answers with an :class:`Admission` or a :class:`Rejection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.config.applications import AeConfig, Application, Destination, Source
from gateway.dicom.hosts import Hosts
from gateway.dicom.pdu import APPLICATION_CONTEXT, AssociateRequest


class Why(Enum):
    """A reason to refuse, with the result, source and reason of its A-ASSOCIATE-RJ."""

    PROTOCOL_VERSION = (1, 2, 2)
    APPLICATION_CONTEXT = (1, 1, 2)
    CALLED_AE = (1, 1, 7)
    CALLING_AE = (1, 1, 3)
    # The standard has no reason for a wrong address: the calling AE title is not recognized
    # when it comes from there.  Listed apart so that records can tell the two.
    WRONG_HOST = (1, 1, 3, "host")
    ASSOCIATION_LIMIT = (2, 3, 2)
    PEER_LIMIT = (2, 3, 2, "peer")
    # Not transient: the same proposal would be refused again.
    CONTEXT_LIMIT = (1, 3, 2)
    STOPPING = (2, 3, 1)


@dataclass(frozen=True)
class Rejection:
    """A refused association: what goes over the wire and what a person reads."""

    why: Why
    text: str

    @property
    def codes(self) -> tuple[int, int, int]:
        """Result, source and reason of the A-ASSOCIATE-RJ."""
        result, source, reason = self.why.value[:3]
        return int(result), int(source), int(reason)


@dataclass(frozen=True)
class Admission:
    """An admitted association and what it may do."""

    application: Application | None
    """The called application; None for an implied called AE."""
    stores: bool
    """Whether storage contexts may be accepted."""


def within(request: AssociateRequest, most: int) -> Rejection | None:
    """Refuse a proposal of more than ``most`` presentation contexts."""
    count = len(request.contexts)
    if count <= most:
        return None
    return Rejection(
        Why.CONTEXT_LIMIT,
        f"{count} presentation contexts are proposed, {most} are allowed "
        "(setting dicom.limits.contexts)",
    )


def judge(
    request: AssociateRequest,
    host: str,
    config: AeConfig,
    hosts: Hosts,
    *,
    reject_unknown_sources: bool,
) -> Admission | Rejection:
    """Decide on one A-ASSOCIATE-RQ from ``host``; may block on a name look-up."""
    refused = _protocol(request)
    if refused is not None:
        return refused
    application = config.application(request.called_ae)
    implied_called = [d for d in config.destinations if d.calling_ae_title == request.called_ae]
    if application is None and not implied_called:
        known = ", ".join(sorted(a.ae_title for a in config.applications)) or "none"
        return Rejection(
            Why.CALLED_AE,
            f"no application has the AE title {request.called_ae!r} (known: {known})",
        )
    if not reject_unknown_sources:
        return Admission(application, stores=application is not None)
    caller = _caller(request.calling_ae, host, config, hosts)
    if isinstance(caller, Rejection):
        return caller
    return Admission(application, stores=application is not None and isinstance(caller, Source))


def _protocol(request: AssociateRequest) -> Rejection | None:
    if not request.protocol_version & 1:
        return Rejection(
            Why.PROTOCOL_VERSION,
            f"the peer speaks protocol version bits {request.protocol_version:#06x}, not version 1",
        )
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection(
            Why.APPLICATION_CONTEXT,
            f"the application context {request.application_context[:64]!r} is not DICOM's",
        )
    return None


def _caller(
    calling_ae: str, host: str, config: AeConfig, hosts: Hosts
) -> Source | Destination | Rejection:
    """The entry that lets the caller in: a source, else a destination as implied source."""
    source = next((s for s in config.sources if s.ae_title == calling_ae), None)
    if source is not None and hosts.match(host, source.hosts):
        return source
    implied = [d for d in config.destinations if d.ae_title == calling_ae and d.host is not None]
    for destination in implied:
        if hosts.match(host, [str(destination.host)]):
            return destination
    if source is None and not implied:
        return Rejection(
            Why.CALLING_AE,
            f"no source has the AE title {calling_ae!r}: add it, with host {host}, to sources",
        )
    allowed = list(source.hosts) if source else [str(d.host) for d in implied]
    return Rejection(
        Why.WRONG_HOST,
        f"{calling_ae} calls from {host}, but its hosts are {', '.join(allowed)}",
    )
