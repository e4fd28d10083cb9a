"""C-MOVE and C-GET as SCU (PS3.4 C.4.2, C.4.3): have a peer send, or take over this association.

C-GET proposes the SCP role for storage classes on its own association, so nothing has to listen
and no record of what was asked for is needed: instances arrive only where they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom.presentation import AllStoragePresentationContexts

from gateway.dicom import dimse
from gateway.dicom.datasets import decode, encode
from gateway.dicom.dialogue import Message
from gateway.dicom.errors import NotDicom
from gateway.dicom.pdu import ProposedContext, Role
from gateway.dicom.plan import MAX_CONTEXTS
from gateway.dicom.query import (
    CANCELLED,
    MODELS,
    PENDING,
    Asking,
    Exchange,
    Inbound,
    Stopper,
    conversation,
    final,
)
from gateway.payloads.receiving import Spool

COMMON = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX for presentation
    "1.2.840.10008.5.1.4.1.1.1.2",  # MG for presentation
    "1.2.840.10008.5.1.4.1.1.6.1",  # US
    "1.2.840.10008.5.1.4.1.1.3.1",  # US multi-frame
    "1.2.840.10008.5.1.4.1.1.7",  # SC
    "1.2.840.10008.5.1.4.1.1.12.1",  # XA
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.20",  # NM
    "1.2.840.10008.5.1.4.1.1.66.4",  # SEG
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale PR
    "1.2.840.10008.5.1.4.1.1.481.1",  # RT Image
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
    "1.2.840.10008.5.1.4.1.1.481.3",  # RT Structure Set
    "1.2.840.10008.5.1.4.1.1.481.5",  # RT Plan
)
"""Classes that a C-GET proposes when its caller does not know what comes."""

SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.81",
)
"""Transfer syntaxes in which instances are taken, the uncompressed first."""


_SUB_OPERATIONS = 0xA702
"""Refused: out of resources, unable to perform sub-operations (PS3.4 C.4.2.1.5)."""


@dataclass
class Retrieval:
    """Sub-operations as the peer counts them (PS3.7 9.1.3.1), and what arrived here."""

    remaining: int | None = None
    completed: int = 0
    failed: int = 0
    warning: int = 0
    arrived: int = 0
    """Instances of a C-GET that were kept."""
    refused: int = 0
    """Instances of a C-GET that were not kept."""
    cancelled: bool = False
    failed_uids: list[str] = field(default_factory=list)
    """Failed SOP Instance UID List of the last response that had one."""
    warnings: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing failed and nothing was left out."""
        return not (self.failed or self.refused or self.cancelled or self.remaining)


Progress = Callable[[Retrieval], None]


def move(
    asking: Asking,
    request: Dataset,
    destination_ae: str,
    *,
    stopper: Stopper | None = None,
    progress: Progress | None = None,
) -> Retrieval:
    """C-MOVE to the AE title ``destination_ae``, which the peer must know.

    Raises as Requestor, UnsupportedByGateway, QueryFailed (A801H: the destination is unknown) or
    Interrupted.
    """
    outcome = Retrieval()
    sop_class = MODELS[asking.root].move
    with conversation(asking, sop_class) as (dialogue, context):
        exchange = Exchange(dialogue, context, stopper or Stopper(), asking.timeouts)
        data = encode(request, context.transfer_syntax)
        target = {0x0600: _padded(destination_ae)}
        exchange.ask(dimse.C_MOVE_RQ, sop_class, data, target)
        _follow(asking, "C-MOVE", exchange, outcome, progress)
    return outcome


def get(
    asking: Asking,
    request: Dataset,
    spool: Spool,
    *,
    sop_classes: tuple[str, ...] = (),
    association_id: str = "",
    stopper: Stopper | None = None,
    progress: Progress | None = None,
) -> Retrieval:
    """C-GET: instances come over this association into ``spool``.

    ``sop_classes``: what may come; empty = :data:`COMMON` and whatever else fits.  Raises as
    :func:`move`.
    """
    outcome = Retrieval()
    sop_class = MODELS[asking.root].get
    classes = sop_classes[: MAX_CONTEXTS - 1] or expected_classes()
    contexts = tuple(ProposedContext(2 * n + 3, uid, SYNTAXES) for n, uid in enumerate(classes))
    roles = tuple(Role(uid, scu=False, scp=True) for uid in classes)

    def arrived(message: Message) -> None:
        if message.stored == dimse.SUCCESS:
            outcome.arrived += 1
        else:
            outcome.refused += 1
        if progress is not None:
            progress(outcome)

    inbound = Inbound(contexts, roles, spool, association_id)
    with conversation(asking, sop_class, inbound) as (dialogue, context):
        exchange = Exchange(dialogue, context, stopper or Stopper(), asking.timeouts)
        exchange.ask(dimse.C_GET_RQ, sop_class, encode(request, context.transfer_syntax))
        _follow(asking, "C-GET", exchange, outcome, progress, arrived)
    return outcome


def expected_classes() -> tuple[str, ...]:
    """The common classes, then others of the standard, as many as one association holds."""
    others = (str(c.abstract_syntax) for c in AllStoragePresentationContexts)
    return tuple(dict.fromkeys([*COMMON, *others]))[: MAX_CONTEXTS - 1]


def _follow(
    asking: Asking,
    what: str,
    exchange: Exchange,
    outcome: Retrieval,
    progress: Progress | None,
    arrived: Callable[[Message], None] | None = None,
) -> None:
    """Take responses to the final one."""
    for message in exchange.answers(arrived):
        status = exchange.status(message)
        _count(message, outcome)
        if progress is not None:
            progress(outcome)
        if status in PENDING:
            continue
        outcome.cancelled = exchange.cancelled or status == CANCELLED
        outcome.failed_uids += _failed_uids(message)
        if status == _SUB_OPERATIONS and outcome.failed:
            # Not a fault of the request: the counts and the list tell what is missing.
            outcome.warnings.append("the peer could not send everything")
            return
        final(asking.peer, what, message, status, outcome.warnings)
        return


def _count(message: Message, outcome: Retrieval) -> None:
    command = message.command
    names = {0x1021: "completed", 0x1022: "failed", 0x1023: "warning"}
    outcome.remaining = command.number(0x1020)
    for element, name in names.items():
        number = command.number(element)
        if number is not None:
            setattr(outcome, name, number)


def _failed_uids(message: Message) -> list[str]:
    """Failed SOP Instance UID List (0008,0058); unreadable ones are left out."""
    if not message.data:
        return []
    try:
        data_set = decode(message.data, message.context.transfer_syntax)
    except NotDicom:
        return []
    tag = Tag(0x0008, 0x0058)
    raw = data_set.get_item(tag).value if tag in data_set else b""
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else ""
    return [uid.strip(" \0") for uid in text.split("\\") if uid.strip(" \0")]


def _padded(ae_title: str) -> bytes:
    value = ae_title.encode("ascii")
    return value + b" " * (len(value) % 2)
