"""An association this gateway opens: connect, negotiate, exchange, release or abort."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway.dicom import dimse, pdu
from gateway.dicom.dimse import Command
from gateway.dicom.errors import (
    ConnectionLost,
    ProtocolViolation,
    Unreachable,
)
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.messages import Assembler, Receiver
from gateway.dicom.negotiation import Context
from gateway.dicom.outgoing import BLOCK, Content, Outgoing
from gateway.dicom.peer import Peer, rejection
from gateway.dicom.sop_classes import kind
from gateway.dicom.stream import PlainStream, Stream
from gateway.dicom.tls import call
from gateway.dicom.upper_layer import MAX_CONTROL_LENGTH, aborted_by_peer
from gateway.dicom.wire import Wire

_RECEIVE_BLOCK = 1 << 16
_OWN_PDU = 1 << 16
_DEFAULT_SEND_PDU = 1 << 17
_LARGEST_SEND_PDU = 1 << 18


class _Answers:
    """Receives the responses of the peer; its data sets (none is expected) are dropped."""

    def __init__(self) -> None:
        self.latest: Command | None = None
        self._under_way: Command | None = None

    def clear(self) -> None:
        """Forget the last response."""
        self.latest = None

    def begin(self, context: Context, command: Command) -> None:  # noqa: ARG002 - Receiver
        """Keep the command until its message is complete."""
        if not command.field & dimse.RESPONSE:
            raise ProtocolViolation(f"the peer sent a request ({command.field:#06x}) to an SCU")
        self._under_way = command

    def data(self, piece: memoryview) -> None:
        """Drop bytes."""

    def end(self) -> None:
        """The response is complete."""
        self.latest = self._under_way


@dataclass(frozen=True)
class Request:
    """A C-STORE request that is ready to be sent."""

    message_id: int
    data: Outgoing


class Requestor:
    """One open association; used by one thread.  Leaving the context releases or aborts it."""

    def __init__(
        self,
        peer: Peer,
        contexts: Sequence[pdu.ProposedContext],
        timeouts: RequestorTimeouts | None = None,
        max_pdu: int = _DEFAULT_SEND_PDU,
        *,
        roles: Sequence[pdu.Role] = (),
        receiver: Receiver | None = None,
    ) -> None:
        """Connect and negotiate.

        ``max_pdu``: longest P-DATA-TF to send when the peer sets no limit, in bytes.  ``roles``
        are proposed; ``receiver`` takes what the peer sends, for callers that expect more than
        the responses to what this class asks.  Raises Unreachable, RejectedForNow,
        RejectedForGood or UnsupportedByGateway.
        """
        self.peer = peer
        self._timeouts = timeouts or RequestorTimeouts()
        self._open = True
        self._message_id = 0
        self._wire = _connect(peer, self._timeouts)
        try:
            accept = self._associate(contexts, roles)
        except (ConnectionLost, ProtocolViolation) as error:
            self._wire.close()
            raise Unreachable(f"{peer} gave no association: {error}") from error
        except BaseException:
            self._wire.close()
            raise
        self.contexts = _accepted(contexts, accept)
        """Accepted contexts by their ID."""
        self._piece = _piece_length(accept.user.max_pdu, max_pdu)
        self._answers = _Answers()
        self._assembler = Assembler(self._wire, self.contexts, receiver or self._answers)
        self._block = bytearray(BLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def echo(self, context: Context) -> Command:
        """C-ECHO (PS3.7 9.3.5); returns the response."""
        message_id = self._next_id()
        command = dimse.encode(
            {
                0x0002: context.abstract_syntax.encode("ascii"),
                0x0100: dimse.us(dimse.C_ECHO_RQ),
                0x0110: dimse.us(message_id),
                0x0800: dimse.us(dimse.NO_DATA_SET),
            }
        )
        self._wire.send(dimse.command_pdu(context.id, command))
        return self._response(dimse.C_ECHO_RQ, message_id)

    def prepare(self, context: Context, sop_instance_uid: str, content: Content) -> Request:
        """A C-STORE request (PS3.7 9.3.1), its first block read from the file already.

        There is one block per association: prepare after the request before was sent, and drop
        what was prepared and is not to be sent.  Raises FileChanged, or OSError when the file
        cannot be opened; the association is as good as before.
        """
        message_id = self._next_id()
        command = dimse.store_request(context.abstract_syntax, sop_instance_uid, message_id)
        head = dimse.command_pdu(context.id, command)
        return Request(message_id, Outgoing(self._block, head, context.id, content, self._piece))

    def store(self, request: Request, meanwhile: Callable[[], None] | None = None) -> Command:
        """Send what was prepared; returns the response.

        ``meanwhile`` is called between: the next request may be prepared in it.  It is not sent
        before this one is answered, as no asynchronous operations are negotiated (PS3.7 D.3.3.3).
        Raises ConnectionLost or ProtocolViolation; the association is unusable after either.
        """
        with request.data:
            request.data.send(self._wire.send)
        if meanwhile is not None:
            meanwhile()
        return self._response(dimse.C_STORE_RQ, request.message_id)

    def release(self) -> None:
        """A-RELEASE (PS3.8 7.2); what the peer does wrong now changes no result any more."""
        if not self._open:
            return
        self._open = False
        try:
            self._wire.send(pdu.RELEASE_RQ)
            self._wire.allow(self._timeouts.release_seconds)
            _, length = self._wire.header()
            self._wire.body(min(length, MAX_CONTROL_LENGTH))
        except ConnectionLost:
            pass
        finally:
            self._wire.close()

    def abort(self) -> None:
        """A-ABORT and close; idempotent."""
        if not self._open:
            return
        self._open = False
        try:
            self._wire.send(pdu.abort(0, 0))
        except ConnectionLost:
            pass
        finally:
            self._wire.close()

    def _associate(
        self, contexts: Sequence[pdu.ProposedContext], roles: Sequence[pdu.Role]
    ) -> pdu.AssociateAccept:
        request = pdu.AssociateRequest(
            self.peer.ae_title,
            self.peer.calling_ae_title,
            tuple(contexts),
            pdu.UserInformation(max_pdu=_OWN_PDU, roles=tuple(roles)),
        )
        self._wire.send(pdu.encode_request(request))
        self._wire.allow(self._timeouts.associate_seconds)
        kind, length = self._wire.header()
        if length > pdu.MAX_ASSOCIATE_LENGTH:
            raise ProtocolViolation(f"its answer claims {length} bytes")
        body = self._wire.body(length)
        if kind == pdu.PduType.ASSOCIATE_AC:
            return pdu.decode_accept(body)
        if kind == pdu.PduType.ASSOCIATE_RJ and length >= 4:
            raise rejection(self.peer, body[1], body[2], body[3])
        if kind == pdu.PduType.ABORT:
            raise aborted_by_peer(body)
        raise ProtocolViolation(f"it answered with PDU type {kind:#04x}")

    def _next_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _response(self, request: int, message_id: int) -> Command:
        self._answers.clear()
        self._wire.allow(self._timeouts.response_seconds)
        while self._answers.latest is None:
            self._pdu()
        answer = self._answers.latest
        if answer.field != request | dimse.RESPONSE or answer.number(0x0120) != message_id:
            raise ProtocolViolation("the peer answered another request")
        return answer

    def _pdu(self) -> None:
        self._take(*self._wire.header())

    def _take(self, kind: int, length: int) -> None:
        """Take a PDU whose header was read."""
        if kind == pdu.PduType.P_DATA:
            if length > _OWN_PDU + 12:
                raise ProtocolViolation(f"a P-DATA-TF PDU claims {length} bytes")
            self._assembler.p_data(length)
            return
        if kind == pdu.PduType.ABORT:
            raise aborted_by_peer(self._wire.body(min(length, MAX_CONTROL_LENGTH)))
        raise ProtocolViolation(f"the peer sent PDU type {kind:#04x} instead of a response")


def _connect(peer: Peer, timeouts: RequestorTimeouts) -> Wire:
    try:
        sock = socket.create_connection((peer.host, peer.port), timeouts.connect_seconds)
    except OSError as error:
        raise Unreachable(f"{peer} takes no connection: {error}") from error
    stream: Stream
    if peer.tls is None:
        stream = PlainStream(sock)
    else:
        stream = call(peer, sock, peer.tls, timeouts.associate_seconds)
    return Wire(
        stream,
        send_seconds=timeouts.send_seconds,
        tick_seconds=min(1.0, timeouts.response_seconds / 2),
        block=_RECEIVE_BLOCK,
        prompt=True,
    )


def _accepted(
    proposed: Sequence[pdu.ProposedContext], accept: pdu.AssociateAccept
) -> dict[int, Context]:
    """The accepted contexts; an answer that was not proposed counts as refused."""
    by_id = {context.id: context for context in proposed}
    accepted = {}
    for answer in accept.contexts:
        asked = by_id.get(answer.id)
        if asked is None or answer.result != pdu.ContextResult.ACCEPTED:
            continue
        if answer.transfer_syntax in asked.transfer_syntaxes:
            abstract = asked.abstract_syntax
            accepted[answer.id] = Context(
                answer.id, kind(abstract), abstract, answer.transfer_syntax
            )
    return accepted


def _piece_length(peer_max: int, own_max: int) -> int:
    """Bytes of the data set per PDU: the peer's limit less the PDV header, even."""
    longest = min(peer_max, _LARGEST_SEND_PDU) if peer_max else own_max
    return max(2, (longest - 6) & ~1)
