"""C-FIND as SCU: Patient Root and Study Root (PS3.4 Annex C, PS3.7 9.1.2).

Matches are yielded as they come; a caller that has seen enough, or is asked to stop, lets the
peer know with C-CANCEL and takes what is still under way.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from gateway.dicom import dimse
from gateway.dicom.datasets import SYNTAXES, UNREADABLE, decode, encode
from gateway.dicom.dialogue import Dialogue, Message
from gateway.dicom.errors import (
    ConnectionLost,
    Interrupted,
    NotDicom,
    ProtocolViolation,
    UnsupportedByGateway,
)
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.negotiation import Context
from gateway.dicom.pdu import ProposedContext, Role
from gateway.dicom.peer import Peer
from gateway.errors import Permanent, Refused
from gateway.payloads.receiving import Spool

PENDING = frozenset({0xFF00, 0xFF01})
CANCELLED = 0xFE00
UNICODE = "ISO_IR 192"

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_NAMELESS = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"})


class Level(StrEnum):
    """Query/Retrieve Level."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


class Root(StrEnum):
    """Information model: what stands at the top."""

    PATIENT = "patient"
    STUDY = "study"


@dataclass(frozen=True)
class Model:
    """The SOP classes of one information model."""

    find: str
    move: str
    get: str


MODELS: Mapping[Root, Model] = {
    Root.PATIENT: Model(*(f"1.2.840.10008.5.1.4.1.2.1.{n}" for n in (1, 2, 3))),
    Root.STUDY: Model(*(f"1.2.840.10008.5.1.4.1.2.2.{n}" for n in (1, 2, 3))),
}

RETURNED: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        "PatientID", "PatientName", "StudyDate", "StudyTime", "AccessionNumber",
        "ModalitiesInStudy", "StudyDescription", "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "StudyInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesInstanceUID",
        "NumberOfSeriesRelatedInstances",
    ),
    Level.IMAGE: (
        "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "SOPClassUID", "SOPInstanceUID",
    ),
}  # fmt: skip
"""Keys asked for at each level beside those that the caller names."""


class QueryFailed(Permanent):
    """The peer ended a query or retrieval with a failure; ``status`` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Stopper:
    """Asks a query or retrieval to stop; :meth:`stop` from any thread or signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def stop(self) -> None:
        """Ask; the peer is told with C-CANCEL at the next look."""
        self._event.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked."""
        return self._event.is_set()


@dataclass
class Matches:
    """How a query ended; filled in while it runs."""

    count: int = 0
    cancelled: bool = False
    """Stopped by us before the peer was done."""
    limited: bool = False
    """Stopped because there were more matches than wanted."""
    warnings: list[str] = field(default_factory=list)


def identifier(level: Level, keys: Mapping[str, str], *, returned: bool = True) -> Dataset:
    """The Identifier of a request from ``keys``: keyword or (gggg,eeee) to value.

    Raises Refused for a key that names no attribute, or one that cannot be matched.
    """
    data_set = Dataset()
    for keyword in RETURNED[level] if returned else ():
        setattr(data_set, keyword, None)
    for name, value in keys.items():
        tag = _tag(name)
        vr = dictionary_VR(tag).partition(" or ")[0]
        if vr in _NAMELESS:
            raise Refused(f"{name} is no attribute to match by")
        try:
            data_set.add_new(tag, vr, _value(vr, value))
        except UNREADABLE as error:
            raise Refused(f"{name}={value!r} has no value of VR {vr}") from error
    data_set.QueryRetrieveLevel = level.value
    if not all(value.isascii() for value in keys.values()):
        data_set.SpecificCharacterSet = UNICODE
    return data_set


def _tag(name: str) -> int:
    match = _TAG.fullmatch(name)
    tag = int(match[1] + match[2], 16) if match else tag_for_keyword(name)
    if tag is None or not dictionary_has_tag(tag):
        raise Refused(f"{name!r} is no attribute of the data dictionary")
    return Tag(tag)


def _value(vr: str, value: str) -> str | int | float | list[str] | None:
    if not value:
        return None
    if vr in ("US", "SS", "UL", "SL"):
        return int(value)
    return value.split("\\") if "\\" in value else value


@dataclass(frozen=True)
class Asking:
    """Whom to ask and how patiently."""

    peer: Peer
    root: Root = Root.STUDY
    timeouts: RequestorTimeouts | None = None


def find(
    asking: Asking,
    request: Dataset,
    *,
    limit: int | None = None,
    stopper: Stopper | None = None,
    outcome: Matches | None = None,
) -> Iterator[Dataset]:
    """Ask and yield each match (PS3.4 C.4.1); ``outcome`` tells how it went.

    A generator: nothing is sent before it is iterated.  At most ``limit`` matches.  Raises as
    Requestor, UnsupportedByGateway, QueryFailed or Interrupted.
    """
    sop_class = MODELS[asking.root].find
    outcome = outcome if outcome is not None else Matches()
    with conversation(asking, sop_class) as (dialogue, context):
        exchange = Exchange(dialogue, context, stopper or Stopper(), asking.timeouts)
        data = encode(request, context.transfer_syntax)
        exchange.ask(dimse.C_FIND_RQ, sop_class, data)
        for message in exchange.answers():
            status = exchange.status(message)
            if status not in PENDING:
                outcome.cancelled = exchange.cancelled or status == CANCELLED
                final(asking.peer, "C-FIND", message, status, outcome.warnings)
                return
            if status == 0xFF01 and not outcome.warnings:
                outcome.warnings.append("the peer does not match by some of the keys")
            if limit is not None and outcome.count >= limit:
                outcome.limited = True
                exchange.cancel()
            elif not exchange.cancelled:
                outcome.count += 1
                yield _decoded(message)


def _decoded(message: Message) -> Dataset:
    try:
        return decode(message.data, message.context.transfer_syntax)
    except NotDicom as error:
        raise ProtocolViolation(f"a match cannot be read: {error}") from error


@dataclass(frozen=True)
class Inbound:
    """What a peer may send back over the association of a C-GET."""

    contexts: tuple[ProposedContext, ...]
    """Storage contexts; their IDs begin at 3."""
    roles: tuple[Role, ...]
    spool: Spool
    association_id: str


@contextmanager
def conversation(
    asking: Asking, sop_class: str, inbound: Inbound | None = None
) -> Iterator[tuple[Dialogue, Context]]:
    """An association with a context of ``sop_class``; breaks become Interrupted."""
    dialogue = Dialogue(
        asking.peer,
        [ProposedContext(1, sop_class, SYNTAXES), *(inbound.contexts if inbound else ())],
        roles=inbound.roles if inbound else (),
        timeouts=asking.timeouts,
        spool=inbound.spool if inbound else None,
        association_id=inbound.association_id if inbound else "",
    )
    with dialogue:
        context = dialogue.context_for(sop_class)
        if context is None:
            raise UnsupportedByGateway(
                f"{asking.peer} does not offer this service ({sop_class}, {asking.root} root)"
            )
        try:
            yield dialogue, context
        except (ConnectionLost, ProtocolViolation) as error:
            raise Interrupted(f"{asking.peer}: the association ended early: {error}") from error


class Exchange:
    """One request with its many responses, that may be cancelled; used by one thread."""

    def __init__(
        self,
        dialogue: Dialogue,
        context: Context,
        stopper: Stopper,
        timeouts: RequestorTimeouts | None,
    ) -> None:
        self._dialogue = dialogue
        self._context = context
        self._stopper = stopper
        self._seconds = (timeouts or RequestorTimeouts()).response_seconds
        self._message_id = 0
        self.cancelled = False

    def ask(
        self, field_: int, sop_class: str, data: bytes, more: Mapping[int, bytes] | None = None
    ) -> None:
        """Send the request, priority medium."""
        elements = {0x0002: sop_class.encode("ascii"), 0x0700: dimse.us(0), **(more or {})}
        self._field = field_
        self._message_id = self._dialogue.ask(self._context, field_, elements, data)

    def answers(self, others: Callable[[Message], None] | None = None) -> Iterator[Message]:
        """Each response; ``others`` takes messages that are none (stored instances)."""
        while True:
            self._look()
            message = self._dialogue.hear(self._seconds, self._look)
            command = message.command
            if command.field == self._field | dimse.RESPONSE:
                if command.number(0x0120) != self._message_id:
                    raise ProtocolViolation("the peer answered another request")
                yield message
            elif others is not None and message.stored is not None:
                others(message)
            else:
                raise ProtocolViolation(f"the peer sent {command.field:#06x} instead of an answer")

    def cancel(self) -> None:
        """Let the peer stop; its final response still comes.  Once."""
        if not self.cancelled:
            self.cancelled = True
            self._dialogue.cancel(self._context, self._message_id)

    def _look(self) -> None:
        if self._stopper.stopped:
            self.cancel()

    @staticmethod
    def status(message: Message) -> int:
        """The status of a response; raises ProtocolViolation without one."""
        status = message.command.number(0x0900)
        if status is None:
            raise ProtocolViolation("a response has no status")
        return status


def final(peer: Peer, what: str, message: Message, status: int, warnings: list[str]) -> None:
    """Judge a final status: fine, a warning, or QueryFailed (PS3.4 C.4)."""
    comment = message.command.text(0x0902)[:64]
    words = f"{what} ended with status {status:04X}H" + (f" ({comment})" if comment else "")
    if status in (0x0000, CANCELLED):
        return
    if status & 0xF000 == 0xB000 or status in (0x0001, 0x0107, 0x0116):
        warnings.append(words)
        return
    raise QueryFailed(f"{peer}: {words}", status)
