"""One accepted connection, from its first byte to its close; runs in a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Protocol

from gateway.config.applications import AeConfig
from gateway.dicom import pdu
from gateway.dicom.errors import ConnectionLost, ProtocolViolation, TooSlow, WrongPort
from gateway.dicom.flood import RejectionBudget
from gateway.dicom.hosts import Hosts, canonical
from gateway.dicom.limits import Limits
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.messages import Assembler
from gateway.dicom.negotiation import Agreement, negotiate
from gateway.dicom.notices import LOOK_SECONDS, Notices
from gateway.dicom.policy import Rejection, judge, within
from gateway.dicom.services import Caller, Counts, Requests
from gateway.dicom.sop_classes import Kind
from gateway.dicom.stream import PlainStream
from gateway.dicom.tls import SecurityFailure, secure
from gateway.dicom.upper_layer import (
    MAX_CONTROL_LENGTH,
    Action,
    State,
    aborted_by_peer,
    action,
    violation,
)
from gateway.dicom.wire import Wire
from gateway.errors import Transient
from gateway.payloads.receiving import AssociationRecords, Security, Spool

log = logging.getLogger(__name__)

_CONGESTED = (2, 3, 1)
"""Rejected for now, by the presentation provider, temporary congestion (PS3.8 9.3.4)."""
_LENGTH_SLACK = 12
"""Some senders count the PDU and PDV headers out of the negotiated length."""


class Slots(Protocol):
    """The count of open associations, shared by all connections of the listener."""

    def take(self, host: str) -> Rejection | None:
        """Take a slot, or say why there is none."""

    def give_back(self, host: str) -> None:
        """Return the slot."""


@dataclass(frozen=True)
class Services:
    """What every connection of a listener shares."""

    spool: Spool
    associations: AssociationRecords
    hosts: Hosts
    slots: Slots
    rejections: RejectionBudget
    limits: Limits
    max_pdu: int
    reject_unknown_sources: bool
    mailbox: Mailbox | None = None
    """Where notices of storage commitment go; None = they are refused."""


@dataclass(frozen=True)
class Snapshot:
    """One open association for status pages."""

    association_id: str
    called_ae: str
    calling_ae: str
    host: str
    port: int
    opened_at: float
    instances: int
    failures: int
    bytes: int


class Acceptor:
    """Serves one connection: negotiates by the configuration in force, then answers requests."""

    def __init__(
        self,
        sock: socket.socket,
        address: tuple[str, int],
        config: AeConfig,
        services: Services,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls``: what the peer must shake hands with first; None on the plain port."""
        limits = services.limits
        shortest = min(limits.artim_seconds, limits.idle_seconds, limits.pdu_seconds)
        self._stream = PlainStream(sock)
        self._wire = Wire(
            self._stream,
            send_seconds=limits.send_seconds,
            tick_seconds=min(5.0, shortest / 2),
            # DCMTK as shipped leaves Nagle's algorithm on and would wait 40 ms per instance.
            prompt=True,
        )
        self._tls = tls
        self._security: Security | None = None
        self._host, self._port = str(canonical(address[0])), address[1]
        self._config = config
        self._services = services
        self._limits = limits
        self._caller: Caller | None = None
        self._opened_at = 0.0
        self._counts = Counts()
        self._message_until = math.inf

    @property
    def snapshot(self) -> Snapshot | None:
        """What the association did so far; None before it is open.  Callable from any thread."""
        caller, counts = self._caller, self._counts
        if caller is None:
            return None
        return Snapshot(
            caller.association_id,
            caller.called_ae,
            caller.calling_ae,
            caller.host,
            self._port,
            self._opened_at,
            counts.instances,
            counts.failures,
            counts.bytes,
        )

    @property
    def negotiating(self) -> bool:
        """Whether no association is open, and nobody told the connection to end."""
        return self._caller is None and not self._wire.interrupted

    def interrupt(self) -> None:
        """End the connection with A-ABORT soon; callable from any thread."""
        self._wire.interrupt()

    def run(self) -> None:
        """Serve the connection to its end; never raises."""
        try:
            self._serve()
        except Exception:
            log.exception("a connection ended by a fault of the gateway", extra=self._peer())
            self._try_abort(2, 0)
        finally:
            self._wire.close()

    def _serve(self) -> None:
        try:
            self._secure()
            request = self._await_request()
            if request is not None:
                self._admit(request)
        except WrongPort as error:
            self._turn_away("", "", str(error))
            self._try_abort(error.source, error.reason)
        except ProtocolViolation as error:
            log.warning("association request refused: %s", error, extra=self._peer())
            self._try_abort(error.source, error.reason)
        except SecurityFailure as error:
            self._turn_away("", "", str(error))
            self._wire.linger(self._limits.linger_seconds)
        except ConnectionLost as error:
            log.info("connection ended without an association: %s", error, extra=self._peer())

    def _secure(self) -> None:
        """Shake hands on the TLS port."""
        if self._tls is not None:
            self._security = secure(self._wire, self._stream, self._tls, self._limits.artim_seconds)

    def _await_request(self) -> pdu.AssociateRequest | None:
        self._wire.allow(self._limits.artim_seconds)
        kind, length = self._wire.header()
        what = action(State.AWAIT_REQUEST, kind)
        if what is Action.PEER_ABORT:
            return None
        if what is not Action.NEGOTIATE:
            raise violation(State.AWAIT_REQUEST, kind)
        if length > pdu.MAX_ASSOCIATE_LENGTH:
            raise ProtocolViolation(f"an A-ASSOCIATE-RQ claims {length} bytes", source=0, reason=0)
        return pdu.decode_request(self._wire.body(length))

    def _admit(self, request: pdu.AssociateRequest) -> None:
        services = self._services
        verdict = within(request, self._limits.contexts) or judge(
            request,
            self._host,
            self._config,
            services.hosts,
            reject_unknown_sources=services.reject_unknown_sources,
        )
        if isinstance(verdict, Rejection):
            self._reject(request, verdict)
            return
        refused = services.slots.take(self._host)
        if refused is not None:
            self._reject(request, refused)
            return
        try:
            released = self._open(request, negotiate(request, verdict, services.max_pdu))
        finally:
            services.slots.give_back(self._host)
        if released:
            # Last, so that who releases and calls again finds its slot free and its record done.
            with contextlib.suppress(ConnectionLost):
                self._wire.send(pdu.RELEASE_RP)
        self._wire.linger(self._limits.linger_seconds)

    def _reject(self, request: pdu.AssociateRequest, refused: Rejection) -> None:
        self._turn_away(request.called_ae, request.calling_ae, refused.text)
        self._wire.send(pdu.reject(*refused.codes))
        self._wire.linger(self._limits.linger_seconds)

    def _turn_away(self, called_ae: str, calling_ae: str, text: str) -> None:
        """Record who was refused and why, within the peer's budget of records."""
        unrecorded = self._services.rejections.spend(self._host)
        if unrecorded is None:
            return
        if unrecorded:
            text += f" (and {unrecorded} more rejections of {self._host} before)"
        log.warning("association rejected: %s", text, extra=self._peer())
        try:
            self._services.associations.rejected(
                called_ae, calling_ae, self._host, self._port, text
            )
        except Transient as error:
            # The peer must hear its reason whether or not it can be recorded.
            log.error("%s", error, extra=self._peer())  # noqa: TRY400 - says it all

    def _open(self, request: pdu.AssociateRequest, agreement: Agreement) -> bool:
        """Serve the association and record it; returns whether the peer asked for its release."""
        associations = self._services.associations
        try:
            association_id = associations.opened(
                request.called_ae, request.calling_ae, self._host, self._port, self._security
            )
        except Transient as error:
            log.error("association refused: %s", error, extra=self._peer())  # noqa: TRY400
            self._wire.send(pdu.reject(*_CONGESTED))
            return False
        caller = Caller(association_id, request.called_ae, request.calling_ae, self._host)
        notices = self._notices(caller, agreement)
        requests = Requests(caller, self._services.spool, self._wire.send, notices)
        self._counts, self._opened_at, self._caller = requests.counts, time.time(), caller
        self._wire.watch(lambda: associations.touch(association_id))
        released, reason = False, "a fault of the gateway"
        try:
            self._wire.send(pdu.encode_accept(agreement.answer))
            released, reason = self._converse(agreement, requests)
        finally:
            requests.abandon()
            self._wire.watch(None)
            associations.closed(association_id, released=released, reason=reason)
            self._caller = None
        return released

    def _notices(self, caller: Caller, agreement: Agreement) -> Notices | None:
        """What takes storage commitment, if the peer may speak of it."""
        mailbox = self._services.mailbox
        contexts = agreement.contexts.values()
        if mailbox is None or all(c.kind is not Kind.COMMITMENT for c in contexts):
            return None
        config = self._config
        source = next((s for s in config.sources if s.ae_title == caller.calling_ae), None)
        known = source is not None or not self._services.reject_unknown_sources
        return Notices(
            caller,
            mailbox,
            may_ask=known and config.application(caller.called_ae) is not None,
            answers_here=source is None or source.port is None,
        )

    def _converse(self, agreement: Agreement, requests: Requests) -> tuple[bool, str]:
        """Serve PDUs until the end; returns whether it was a release, and else the reason."""
        assembler = Assembler(self._wire, agreement.contexts, requests, self._limits.command_bytes)
        try:
            while self._pdu(assembler, requests):
                pass
        except ProtocolViolation as error:
            log.warning("association aborted: %s", error, extra=self._peer())
            self._try_abort(error.source, error.reason)
            return False, str(error)
        except ConnectionLost as error:
            within = " in the middle of a message" if assembler.in_message else ""
            if self._wire.interrupted or isinstance(error, TooSlow):
                self._try_abort(0, 0)
            return False, f"{error}{within}"
        return True, ""

    def _pdu(self, assembler: Assembler, requests: Requests) -> bool:
        """Serve one PDU; False when it was the release."""
        limits, wire = self._limits, self._wire
        wire.allow(limits.pdu_seconds if assembler.in_message else limits.idle_seconds)
        kind, length = wire.header()
        what = action(State.ESTABLISHED, kind)
        if what is Action.DATA:
            if length > self._services.max_pdu + _LENGTH_SLACK:
                raise ProtocolViolation(
                    f"a P-DATA-TF PDU claims {length} bytes, {self._services.max_pdu} were agreed"
                )
            wire.allow(limits.pdu_seconds)
            assembler.p_data(length)
            self._watch_message(assembler)
            if requests.owes:
                wire.heed(requests.tell, LOOK_SECONDS)
            return True
        if what not in (Action.RELEASE, Action.PEER_ABORT):
            raise violation(State.ESTABLISHED, kind)
        if length > MAX_CONTROL_LENGTH:
            raise ProtocolViolation(f"a control PDU claims {length} bytes")
        body = wire.body(length)
        if what is Action.PEER_ABORT:
            raise aborted_by_peer(body)
        if assembler.in_message:
            raise ProtocolViolation("A-RELEASE-RQ in the middle of a message", reason=2)
        return False

    def _watch_message(self, assembler: Assembler) -> None:
        """Bound the time from a message's first PDU to its last."""
        if not assembler.in_message:
            self._message_until = math.inf
        elif self._message_until == math.inf:
            self._message_until = time.monotonic() + self._limits.message_seconds
        elif time.monotonic() > self._message_until:
            raise TooSlow(f"a message took over {self._limits.message_seconds:g} seconds")

    def _try_abort(self, source: int, reason: int) -> None:
        try:
            self._wire.send(pdu.abort(source, reason))
        except ConnectionLost:
            return
        if self._caller is None:
            self._wire.linger(self._limits.linger_seconds)

    def _peer(self) -> dict[str, object]:
        caller = self._caller
        extra: dict[str, object] = {"host": self._host, "port": self._port}
        if caller is not None:
            extra |= {"association": caller.association_id, "calling_ae": caller.calling_ae}
        return extra
