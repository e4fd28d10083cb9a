"""An association this gateway opens for more than sending: both sides may ask and answer.

Queries answer with many data sets, a C-GET sends instances back, a commitment is reported
whenever it is ready: so messages are taken one by one, whole and within limits, and instances
stream into a spool.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.dicom import dimse, pdu
from gateway.dicom.caller import Caller
from gateway.dicom.dimse import Command
from gateway.dicom.errors import ConnectionLost, ProtocolViolation, TooSlow
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.negotiation import Context
from gateway.dicom.peer import Peer
from gateway.dicom.requestor import Requestor
from gateway.payloads.receiving import Arrival, Incoming, Spool

MOST_BYTES = 16 << 20
"""Longest data set taken into memory."""

_LOOK_SECONDS = 0.25


class PeerReleased(ConnectionLost):
    """The peer released the association: it has nothing more to say."""


@dataclass(frozen=True)
class Message:
    """One message of the peer; ``stored`` is the status of an instance that came with it."""

    context: Context
    command: Command
    data: bytes
    stored: int | None = None


class _Mail:
    """Puts messages together; instances go to the spool while they arrive."""

    def __init__(self, caller: Caller, spool: Spool | None) -> None:
        self.complete: list[Message] = []
        self._caller = caller
        self._spool = spool
        self._context: Context | None = None
        self._command: Command | None = None
        self._data = bytearray()
        self._incoming: Incoming | None = None

    def begin(self, context: Context, command: Command) -> None:
        """Open the spool for an instance, a buffer for anything else."""
        self._context, self._command = context, command
        self._data = bytearray()
        if command.field == dimse.C_STORE_RQ:
            if self._spool is None:
                raise ProtocolViolation("the peer sends an instance that was not asked for")
            self._incoming = self._spool.open(self._arrival(context, command))

    def data(self, piece: memoryview) -> None:
        """Write or collect; raises ProtocolViolation beyond the limit."""
        if self._incoming is not None:
            self._incoming.write(piece)
            return
        if len(self._data) + len(piece) > MOST_BYTES:
            raise ProtocolViolation(f"the peer sends a data set of over {MOST_BYTES} bytes")
        self._data += piece

    def end(self) -> None:
        """The message is complete."""
        context, command = self._context, self._command
        if context is None or command is None:  # pragma: no cover - begin() comes first
            return
        stored = None
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            stored = int(incoming.commit().status)
        self.complete.append(Message(context, command, bytes(self._data), stored))

    def abandon(self) -> None:
        """Forget the instance under way."""
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            incoming.abort()

    def _arrival(self, context: Context, command: Command) -> Arrival:
        return Arrival(
            association_id=self._caller.association_id,
            called_ae=self._caller.called_ae,
            calling_ae=self._caller.calling_ae,
            host=self._caller.host,
            sop_class_uid=command.sop_class_uid or context.abstract_syntax,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax,
        )


class Dialogue(Requestor):
    """One open association of messages; used by one thread.

    Leaving the context releases or aborts it, as a :class:`Requestor` does.
    """

    def __init__(
        self,
        peer: Peer,
        contexts: Sequence[pdu.ProposedContext],
        *,
        roles: Sequence[pdu.Role] = (),
        timeouts: RequestorTimeouts | None = None,
        spool: Spool | None = None,
        association_id: str = "",
    ) -> None:
        """Connect and negotiate; ``spool`` takes instances that the peer may then send.

        Raises as :class:`Requestor` does.
        """
        caller = Caller(association_id, peer.calling_ae_title, peer.ae_title, peer.host)
        self._mail = _Mail(caller, spool)
        super().__init__(peer, contexts, timeouts, roles=roles, receiver=self._mail)

    def abort(self) -> None:
        """A-ABORT and close; an instance under way is forgotten.  Idempotent."""
        self._mail.abandon()
        super().abort()

    def context_for(self, abstract_syntax: str) -> Context | None:
        """The accepted context of a SOP class, None when the peer refused it."""
        found = (c for c in self.contexts.values() if c.abstract_syntax == abstract_syntax)
        return next(found, None)

    def ask(
        self, context: Context, field: int, elements: Mapping[int, bytes], data: bytes | None
    ) -> int:
        """Send a request; returns its Message ID.  ``elements`` beside those every one has."""
        message_id = self._next_id()
        base = {
            0x0100: dimse.us(field),
            0x0110: dimse.us(message_id),
            0x0800: dimse.us(dimse.NO_DATA_SET if data is None else 0x0001),
        }
        self._say(context, dimse.encode({**base, **elements}), data)
        return message_id

    def cancel(self, context: Context, message_id: int) -> None:
        """C-CANCEL a request that is being answered (PS3.7 9.3.2.3)."""
        command = {
            0x0100: dimse.us(dimse.C_CANCEL_RQ),
            0x0120: dimse.us(message_id),
            0x0800: dimse.us(dimse.NO_DATA_SET),
        }
        self._say(context, dimse.encode(command), None)

    def answer(self, message: Message, status: int, comment: str = "") -> None:
        """Answer a request of the peer."""
        self._say(message.context, dimse.response(message.command, status, comment), None)

    def say(self, data: bytes) -> None:
        """Send PDUs that are complete already."""
        self._wire.send(data)

    def hear(self, seconds: float, meanwhile: Callable[[], None] | None = None) -> Message:
        """The peer's next message, begun within ``seconds``; instances are answered here.

        ``meanwhile`` is called a few times a second while nothing comes; it may send.  Raises
        TooSlow, PeerReleased, another ConnectionLost or ProtocolViolation.
        """
        if meanwhile is not None:
            self._wire.heed(meanwhile, _LOOK_SECONDS)
        while not self._mail.complete:
            self._wire.allow(seconds)
            self._pdu()
        message = self._mail.complete.pop(0)
        if message.stored is not None:
            self.answer(message, message.stored)
        return message

    def hear_within(self, seconds: float, done: Callable[[], bool]) -> Message | None:
        """The peer's next message; None after ``seconds`` of silence, a goodbye, or ``done()``."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not done():
            self._wire.allow(min(left, _LOOK_SECONDS))
            try:
                self._wire.anything()
            except TooSlow:
                continue
            try:
                return self.hear(self._timeouts.response_seconds)
            except PeerReleased:
                return None
        return None

    def _pdu(self) -> None:
        kind, length = self._wire.header()
        if kind == pdu.PduType.RELEASE_RQ and length <= 1024:
            self._wire.body(length)
            self._wire.send(pdu.RELEASE_RP)
            self._open = False
            self._wire.close()
            raise PeerReleased("the peer released the association")
        self._take(kind, length)

    def _say(self, context: Context, command: bytes, data: bytes | None) -> None:
        self._wire.send(dimse.command_pdu(context.id, command))
        if data is not None:
            for each in dimse.data_pdus(context.id, data, self._piece):
                self._wire.send(each)
