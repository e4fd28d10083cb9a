"""Storage commitment on associations that others opened (PS3.4 Annex J, PS3.7 10.1.1, 10.1.4).

A modality asks us to commit (N-ACTION), a destination reports what we asked it (N-EVENT-REPORT).
Both are only taken here: checked, put into the mailbox, answered.  Working them off, and every
decision that needs the database, is the delivery room's.

A source without a ``port`` gets its report over the association that asked, while that is open::

    N-ACTION-RQ ▶ mailbox, N-ACTION-RSP ▶ (delivery leaves an answer) ▶ N-EVENT-REPORT-RQ ▶ its
    response, or the end of the association, goes to the mailbox
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from gateway.dicom import commitment, dimse
from gateway.dicom.caller import Caller
from gateway.dicom.commitment import Failure, Notice, Reference
from gateway.dicom.dimse import Command
from gateway.dicom.errors import NotDicom, ProtocolViolation
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.negotiation import Context
from gateway.dicom.sop_classes import STORAGE_COMMITMENT, Kind
from gateway.events.faults import point

log = logging.getLogger(__name__)

FAULT_POINTS = ("notice.kept.before", "notice.kept.after")
"""A notice complete but not on disk, and on disk but not answered."""

LOOK_SECONDS = 0.5
"""How often an association that is owed a report looks whether there is one."""
_MOST_OWED = 100
_PIECE = 16000
"""Bytes of a report per PDU: every peer takes 16 kB."""


class Notices:
    """Takes the notices of one association; used by its thread."""

    def __init__(
        self, caller: Caller, mailbox: Mailbox, *, may_ask: bool, answers_here: bool
    ) -> None:
        """``may_ask``: the caller may ask us to commit; ``answers_here``: and hears of it here."""
        self._caller = caller
        self._mailbox = mailbox
        self._may_ask = may_ask
        self._answers_here = answers_here
        self._data = bytearray()
        self._owed: dict[str, Context] = {}
        self._told: dict[int, str] = {}
        self._message_id = 0

    @property
    def owes(self) -> bool:
        """Whether a report is to be sent over this association."""
        return bool(self._owed)

    def judge(self, context: Context, command: Command) -> int:
        """The status of a request before its data set; SUCCESS means: :meth:`commit` decides."""
        self._data.clear()
        if context.kind is not Kind.COMMITMENT or not command.has_data_set:
            return dimse.UNRECOGNIZED_OPERATION
        if command.sop_class_uid != STORAGE_COMMITMENT:
            return dimse.SOP_CLASS_NOT_SUPPORTED
        if command.sop_instance_uid != commitment.INSTANCE:
            return dimse.NO_SUCH_OBJECT_INSTANCE
        if command.field == dimse.N_EVENT_REPORT_RQ:
            known = command.number(0x1002) in (commitment.EVENT_COMPLETE, commitment.EVENT_FAILURES)
            return dimse.SUCCESS if known else dimse.NO_SUCH_EVENT_TYPE
        if command.number(0x1008) != commitment.ACTION_REQUEST:
            return dimse.NO_SUCH_ACTION
        return dimse.SUCCESS if self._may_ask else dimse.NOT_AUTHORIZED

    def write(self, piece: memoryview) -> None:
        """Collect the data set; what is beyond the limit is dropped and refused."""
        if len(self._data) <= commitment.MOST_BYTES:
            self._data += piece

    def commit(self, context: Context, command: Command) -> tuple[int, str]:
        """Keep the notice; returns the status and comment to answer."""
        if len(self._data) > commitment.MOST_BYTES:
            return dimse.RESOURCE_LIMITATION, "the data set is too long"
        try:
            notice = commitment.decode_notice(self._data, context.transfer_syntax)
        except NotDicom as error:
            return dimse.INVALID_ARGUMENT_VALUE, str(error)
        finally:
            self._data.clear()
        try:
            if command.field == dimse.N_EVENT_REPORT_RQ:
                return self._report(notice)
            return self._request(notice, context)
        except OSError as error:
            log.exception("a commitment notice cannot be kept", extra=self._who())
            return dimse.RESOURCE_LIMITATION, error.strerror or str(error)

    def _report(self, notice: Notice) -> tuple[int, str]:
        if not self._mailbox.expects(notice.transaction_uid):
            log.warning("report of an unknown commitment", extra=self._who())
            return dimse.INVALID_ARGUMENT_VALUE, "unknown Transaction UID"
        self._keep(report_document(notice) | self._who())
        return dimse.SUCCESS, ""

    def _request(self, notice: Notice, context: Context) -> tuple[int, str]:
        if self._answers_here and len(self._owed) >= _MOST_OWED:
            return dimse.RESOURCE_LIMITATION, "too many requests on one association"
        request_id = uuid.uuid4().hex
        document = {
            "kind": "request",
            "request_id": request_id,
            "answers_here": self._answers_here,
            "transaction_uid": notice.transaction_uid,
            "references": [[r.sop_class_uid, r.sop_instance_uid] for r in notice.committed],
        }
        self._keep(document | self._who())
        if self._answers_here:
            self._owed[request_id] = context
        return dimse.SUCCESS, ""

    def _keep(self, document: dict[str, Any]) -> None:
        point("notice.kept.before")
        self._mailbox.put(document | {"received_at": time.time()})
        point("notice.kept.after")

    def look(self, send: Callable[[bytes], None]) -> None:
        """Send the reports that were left for this association; raises ConnectionLost."""
        for request_id, context in list(self._owed.items()):
            document = self._mailbox.take_answer(request_id)
            if document is None:
                continue
            self._message_id += 1
            for each in report_pdus(context, self._message_id, notice_of(document)):
                send(each)
            del self._owed[request_id]
            self._told[self._message_id] = request_id

    def heard(self, command: Command) -> None:
        """Take the response to a report; raises ProtocolViolation for any other response."""
        number = command.number(0x0120)
        request_id = self._told.pop(number, None) if number is not None else None
        if request_id is None or command.field != dimse.N_EVENT_REPORT_RQ | dimse.RESPONSE:
            raise ProtocolViolation("the peer answers a request that was never made")
        self._note(request_id, command.number(0x0900))

    def ended(self) -> None:
        """The association is over: say which reports did not get through.  Never raises."""
        for request_id in [*self._owed, *self._told.values()]:
            self._note(request_id, None)
        self._owed.clear()
        self._told.clear()

    def _note(self, request_id: str, status: int | None) -> None:
        try:
            self._mailbox.put({"kind": "told", "request_id": request_id, "status": status})
        except OSError:
            # The delivery room notices by itself that it was told nothing.
            log.exception("the end of a commitment report cannot be kept", extra=self._who())

    def _who(self) -> dict[str, str]:
        return {
            "association_id": self._caller.association_id,
            "called_ae": self._caller.called_ae,
            "calling_ae": self._caller.calling_ae,
            "host": self._caller.host,
        }


def report_document(notice: Notice) -> dict[str, Any]:
    """A report as the mailbox keeps it."""
    return {
        "kind": "report",
        "transaction_uid": notice.transaction_uid,
        "committed": [[r.sop_class_uid, r.sop_instance_uid] for r in notice.committed],
        "failed": [[f.sop_class_uid, f.sop_instance_uid, f.reason] for f in notice.failed],
    }


def notice_of(document: dict[str, Any]) -> Notice:
    """The report that :func:`report_document` kept."""
    return Notice(
        document["transaction_uid"],
        tuple(Reference(*each) for each in document["committed"]),
        tuple(Failure(*each) for each in document["failed"]),
    )


def report_command(message_id: int, notice: Notice) -> bytes:
    """The command set of an N-EVENT-REPORT-RQ (PS3.7 10.3.1.1)."""
    return dimse.encode(
        {
            0x0002: STORAGE_COMMITMENT.encode("ascii"),
            0x0100: dimse.us(dimse.N_EVENT_REPORT_RQ),
            0x0110: dimse.us(message_id),
            0x0800: dimse.us(0x0001),
            0x1000: commitment.INSTANCE.encode("ascii"),
            0x1002: dimse.us(notice.event_type),
        }
    )


def report_pdus(context: Context, message_id: int, notice: Notice) -> list[bytes]:
    """An N-EVENT-REPORT-RQ with its data set, ready for the wire."""
    data = commitment.encode_notice(notice, context.transfer_syntax)
    command = dimse.command_pdu(context.id, report_command(message_id, notice))
    return [command, *dimse.data_pdus(context.id, data, _PIECE)]
