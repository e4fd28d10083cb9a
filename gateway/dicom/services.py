"""What the SCP does with each DIMSE request: C-ECHO, C-STORE, and a clear no to the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.dicom import dimse
from gateway.dicom.caller import Caller
from gateway.dicom.dimse import Command
from gateway.dicom.errors import ProtocolViolation
from gateway.dicom.negotiation import Context
from gateway.dicom.notices import Notices
from gateway.dicom.sop_classes import Kind
from gateway.events.faults import point
from gateway.payloads.receiving import Arrival, Incoming, Spool

__all__ = ["FAULT_POINTS", "Caller", "Counts", "Requests"]

FAULT_POINTS = ("store.answer.before", "store.answer.after")
"""Durable but not acknowledged, and acknowledged: where a test may end the process."""
_NOTICES = frozenset({dimse.N_ACTION_RQ, dimse.N_EVENT_REPORT_RQ})


@dataclass
class Counts:
    """What an association did so far; written by its thread, read by any."""

    instances: int = 0
    failures: int = 0
    bytes: int = 0


class Requests:
    """Answers the requests of one association; used by its thread.

    A C-STORE is answered only after :meth:`Incoming.commit` returned: what it promises is on
    disk then.
    """

    def __init__(
        self,
        caller: Caller,
        spool: Spool,
        send: Callable[[bytes], None],
        notices: Notices | None = None,
    ) -> None:
        """``notices``: takes storage commitment; None = it is refused."""
        self._caller = caller
        self._spool = spool
        self._send = send
        self._notices = notices
        self._collecting: Notices | None = None
        self._context: Context | None = None
        self._command: Command | None = None
        self._incoming: Incoming | None = None
        self._answer: tuple[int, str] = (dimse.SUCCESS, "")
        self.counts = Counts()

    def begin(self, context: Context, command: Command) -> None:
        """Decide what the request is; opens the spool for a C-STORE."""
        field = command.field
        if field & dimse.RESPONSE:
            if self._notices is None:
                raise ProtocolViolation("the peer answers a request that was never made")
            self._notices.heard(command)
            return
        self._context, self._command = context, command
        self._answer = self._judge(context, command)
        if field in _NOTICES and self._answer[0] == dimse.SUCCESS:
            self._collecting = self._notices
        if field == dimse.C_STORE_RQ and self._answer[0] == dimse.SUCCESS:
            self._incoming = self._spool.open(self._arrival(context, command))

    def data(self, piece: memoryview) -> None:
        """Pass bytes on; those of a request that is refused are dropped."""
        self.counts.bytes += len(piece)
        if self._incoming is not None:
            self._incoming.write(piece)
        elif self._collecting is not None:
            self._collecting.write(piece)

    def end(self) -> None:
        """Commit, then answer."""
        context, command = self._context, self._command
        if context is None or command is None:  # a response, or none yet
            return
        status, comment = self._answer
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            outcome = incoming.commit()
            status, comment = int(outcome.status), outcome.comment
        elif self._collecting is not None:
            notices, self._collecting = self._collecting, None
            status, comment = notices.commit(context, command)
        self._context = self._command = None
        if command.field == dimse.C_CANCEL_RQ:
            return
        if command.field == dimse.C_STORE_RQ:
            self._count(status)
        answer = dimse.response(command, status, comment)
        if command.field == dimse.C_STORE_RQ:
            point("store.answer.before")
        self._send(dimse.command_pdu(context.id, answer))
        self.tell()
        if command.field == dimse.C_STORE_RQ:
            point("store.answer.after")

    def abandon(self) -> None:
        """Forget the instance under way, if any: the association ended within it."""
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            incoming.abort()
        if self._notices is not None:
            self._notices.ended()

    @property
    def owes(self) -> bool:
        """Whether :meth:`tell` is to be called from time to time."""
        return self._notices is not None and self._notices.owes

    def tell(self) -> None:
        """Send what is due by now without being asked; raises ConnectionLost."""
        if self._notices is not None:
            self._notices.look(self._send)

    def _count(self, status: int) -> None:
        if status == dimse.SUCCESS:
            self.counts.instances += 1
        else:
            self.counts.failures += 1

    def _arrival(self, context: Context, command: Command) -> Arrival:
        return Arrival(
            association_id=self._caller.association_id,
            called_ae=self._caller.called_ae,
            calling_ae=self._caller.calling_ae,
            host=self._caller.host,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax,
        )

    def _judge(self, context: Context, command: Command) -> tuple[int, str]:
        """The status to answer; SUCCESS of a C-STORE means: ask the spool."""
        if command.field == dimse.C_CANCEL_RQ:
            return dimse.SUCCESS, ""
        _ = command.message_id  # a request without one cannot be answered: aborts
        if command.field == dimse.C_ECHO_RQ:
            return dimse.SUCCESS, ""
        if command.field in _NOTICES and self._notices is not None:
            return self._notices.judge(context, command), ""
        if command.field != dimse.C_STORE_RQ:
            return dimse.UNRECOGNIZED_OPERATION, ""
        return _judge_store(context, command)


def _judge_store(context: Context, command: Command) -> tuple[int, str]:
    if context.kind is not Kind.STORAGE:
        return dimse.SOP_CLASS_NOT_SUPPORTED, "this context is not for storage"
    named = command.sop_class_uid
    if named and named != context.abstract_syntax:
        return dimse.SOP_CLASS_NOT_SUPPORTED, "SOP class differs from that of its context"
    if not command.has_data_set:
        return dimse.CANNOT_UNDERSTAND, "the request has no data set"
    return dimse.SUCCESS, ""
