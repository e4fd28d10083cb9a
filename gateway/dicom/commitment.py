"""Storage commitment as messages: what is asked and what is reported (PS3.4 Annex J.3).

::

    SCU ──N-ACTION 1: transaction, references──────────────▶ SCP
    SCU ◀──N-EVENT-REPORT 1 (all) or 2 (some failed)──────── SCP    now, or hours later
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dicom.errors import NotDicom
from gateway.dicom.flat import Flat, flat
from gateway.dicom.sop_classes import is_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance of the Push Model."""

_IMPLICIT = "1.2.840.10008.1.2"

ACTION_REQUEST = 1
EVENT_COMPLETE = 1
EVENT_FAILURES = 2

MOST_BYTES = 4 << 20
"""Longest data set of a request or report taken."""
MOST_REFERENCES = 20_000
"""Most instances of one request or report taken."""

NO_SUCH_OBJECT = 0x0112
CLASS_CONFLICT = 0x0119

_REASONS = {
    0x0110: "processing failure",
    NO_SUCH_OBJECT: "no such object instance",
    CLASS_CONFLICT: "class-instance conflict",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}

_ITEM = b"\xfe\xff\x00\xe0"

_TRANSACTION_UID = 0x00081195
_REFERENCED = 0x00081199
_FAILED = 0x00081198
_CLASS_UID = 0x00081150
_INSTANCE_UID = 0x00081155
_REASON = 0x00081197


@dataclass(frozen=True)
class Reference:
    """One instance."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Failure(Reference):
    """One instance that is not committed, with its Failure Reason (PS3.3 C.14.1.1)."""

    reason: int


@dataclass(frozen=True)
class Notice:
    """A request (``committed`` are those asked for, no failures) or a report."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...] = ()

    @property
    def event_type(self) -> int:
        """Event Type ID that reports it."""
        return EVENT_FAILURES if self.failed else EVENT_COMPLETE


def reason_words(reason: int) -> str:
    """A Failure Reason for people."""
    return f"{_REASONS.get(reason, 'unknown reason')} ({reason:04X}H)"


def encode_notice(notice: Notice, transfer_syntax: str) -> bytes:
    """The Action or Event Information of ``notice``."""
    # Loaded when something is to be said: receivers hear of commitment, and need no toolkit.
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    from gateway.dicom.datasets import encode

    data_set = Dataset()
    data_set.TransactionUID = UID(notice.transaction_uid)
    if notice.committed or not notice.failed:
        data_set.ReferencedSOPSequence = [_item(each) for each in notice.committed]
    if notice.failed:
        data_set.FailedSOPSequence = [_item(each) for each in notice.failed]
    return encode(data_set, transfer_syntax)


def decode_notice(data: bytes | bytearray, transfer_syntax: str) -> Notice:
    """Read Action or Event Information; raises NotDicom when it is none."""
    if data.count(_ITEM) > MOST_REFERENCES:
        raise NotDicom(f"a commitment notice names over {MOST_REFERENCES} instances")
    data_set = flat(bytes(data), implicit=transfer_syntax == _IMPLICIT)
    transaction = data_set.text(_TRANSACTION_UID)
    if not is_uid(transaction):
        raise NotDicom("a commitment notice has no usable Transaction UID")
    committed = tuple(Reference(*_pair(item)) for item in data_set.items(_REFERENCED))
    failed = tuple(Failure(*_pair(item), _reason(item)) for item in data_set.items(_FAILED))
    if not committed and not failed:
        raise NotDicom("a commitment notice names no instance")
    return Notice(transaction, committed, failed)


def _item(reference: Reference) -> Dataset:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    item = Dataset()
    item.ReferencedSOPClassUID = UID(reference.sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(reference.sop_instance_uid)
    if isinstance(reference, Failure):
        item.FailureReason = reference.reason
    return item


def _pair(item: Flat) -> tuple[str, str]:
    pair = item.text(_CLASS_UID), item.text(_INSTANCE_UID)
    if not all(is_uid(uid) for uid in pair):
        raise NotDicom("a commitment notice has a reference without usable UIDs")
    return pair


def _reason(item: Flat) -> int:
    raw = item.raw(_REASON)
    # Type 1, but a report without it is a failure all the same.
    return int.from_bytes(raw, "little") if len(raw) == 2 else 0x0110
