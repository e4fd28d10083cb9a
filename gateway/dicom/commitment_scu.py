"""The calls of storage commitment: asking a destination, and telling a modality (PS3.4 Annex J)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from gateway.dicom import commitment, dimse
from gateway.dicom.commitment import Notice, decode_notice, encode_notice
from gateway.dicom.datasets import SYNTAXES
from gateway.dicom.dialogue import Dialogue, Message
from gateway.dicom.dimse import Command
from gateway.dicom.errors import (
    ConnectionLost,
    Interrupted,
    NotDicom,
    ProtocolViolation,
    UnsupportedByGateway,
)
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.notices import report_pdus
from gateway.dicom.pdu import ProposedContext, Role
from gateway.dicom.peer import Peer
from gateway.dicom.sop_classes import STORAGE_COMMITMENT
from gateway.errors import Permanent

_CONTEXT = ProposedContext(1, STORAGE_COMMITMENT, SYNTAXES)

Reported = Callable[[Notice], bool]
"""Keeps a report, durably; False = it is of an unknown transaction."""


class CommitmentRefused(Permanent):
    """The peer answered the request or report itself with a failure."""


class Committing:
    """One association on which a destination is asked to commit; leave its context to end it."""

    def __init__(
        self, peer: Peer, reported: Reported, timeouts: RequestorTimeouts | None = None
    ) -> None:
        """Connect; raises as :class:`~gateway.dicom.requestor.Requestor`.

        UnsupportedByGateway too, when the peer knows no storage commitment.  ``reported`` is
        called for reports that come over this association.
        """
        self._reported = reported
        self._timeouts = timeouts or RequestorTimeouts()
        self._dialogue = Dialogue(peer, [_CONTEXT], timeouts=self._timeouts)
        context = self._dialogue.context_for(STORAGE_COMMITMENT)
        if context is None:
            self._dialogue.release()
            raise UnsupportedByGateway(f"{peer} refuses storage commitment")
        self._context = context
        self._peer = peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._dialogue.release()
        else:
            self._dialogue.abort()

    def ask(self, request: Notice) -> None:
        """N-ACTION: returns when the peer accepted the request.

        Raises CommitmentRefused, or Interrupted when nobody knows whether it did.
        """
        elements = {
            0x0003: STORAGE_COMMITMENT.encode("ascii"),
            0x1001: commitment.INSTANCE.encode("ascii"),
            0x1008: dimse.us(commitment.ACTION_REQUEST),
        }
        data = encode_notice(request, self._context.transfer_syntax)
        try:
            asked = self._dialogue.ask(self._context, dimse.N_ACTION_RQ, elements, data)
            answer = self._response(dimse.N_ACTION_RQ, asked)
        except (ConnectionLost, ProtocolViolation) as error:
            raise Interrupted(f"{self._peer} did not answer the N-ACTION: {error}") from error
        _check(self._peer, "N-ACTION", answer)

    def wait(self, seconds: float, done: Callable[[], bool]) -> None:
        """Take reports over this association for so long, or until ``done()``; never raises."""
        try:
            while (message := self._dialogue.hear_within(seconds, done)) is not None:
                self._take(message)
        except (ConnectionLost, ProtocolViolation):
            # The request is accepted: its report may still come over another association.
            return

    def _response(self, field: int, message_id: int) -> Command:
        """The response to our request; a peer may report before it answers."""
        while True:
            message = self._dialogue.hear(self._timeouts.response_seconds)
            command = message.command
            if command.field == field | dimse.RESPONSE and command.number(0x0120) == message_id:
                return command
            self._take(message)

    def _take(self, message: Message) -> None:
        command = message.command
        if command.field != dimse.N_EVENT_REPORT_RQ:
            raise ProtocolViolation(f"the peer sent {command.field:#06x} instead of a report")
        try:
            notice = decode_notice(message.data, message.context.transfer_syntax)
            known = self._reported(notice)
        except NotDicom as error:
            self._dialogue.answer(message, dimse.INVALID_ARGUMENT_VALUE, str(error))
            return
        except OSError:
            self._dialogue.answer(message, dimse.RESOURCE_LIMITATION)
            return
        status = dimse.SUCCESS if known else dimse.INVALID_ARGUMENT_VALUE
        self._dialogue.answer(message, status, "" if known else "unknown Transaction UID")


def tell(peer: Peer, report: Notice, timeouts: RequestorTimeouts | None = None) -> None:
    """N-EVENT-REPORT over an association of its own; returns when the peer has taken it.

    Proposes the SCP role, as PS3.4 J.3.3 asks.  Raises as a Requestor, CommitmentRefused, or
    Interrupted when nobody knows whether the peer took it.
    """
    patience = timeouts or RequestorTimeouts()
    role = Role(STORAGE_COMMITMENT, scu=False, scp=True)
    with Dialogue(peer, [_CONTEXT], roles=[role], timeouts=patience) as dialogue:
        context = dialogue.context_for(STORAGE_COMMITMENT)
        if context is None:
            raise CommitmentRefused(f"{peer} refuses storage commitment")
        try:
            for each in report_pdus(context, 1, report):
                dialogue.say(each)
            answer = dialogue.hear(patience.response_seconds).command
        except (ConnectionLost, ProtocolViolation) as error:
            raise Interrupted(f"{peer} did not answer the report: {error}") from error
        if answer.field != dimse.N_EVENT_REPORT_RQ | dimse.RESPONSE:
            raise Interrupted(f"{peer} answered something else than the report")
        _check(peer, "report", answer)


def _check(peer: Peer, what: str, answer: Command) -> None:
    status = answer.number(0x0900)
    # Warnings (B000H, 0001H, 0107H, 0116H) leave the request in force.
    if status is None or not (
        status in (0x0000, 0x0001, 0x0107, 0x0116) or status & 0xF000 == 0xB000
    ):
        text = "without a status" if status is None else f"with status {status:04X}H"
        raise CommitmentRefused(f"{peer} answered the {what} {text}")
