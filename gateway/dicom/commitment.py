"""Storage commitment as messages: what is asked and what is reported (PS3.4 Annex J.3).

::

    SCU ──N-ACTION 1: transaction, references──────────────▶ SCP
    SCU ◀──N-EVENT-REPORT 1 (all) or 2 (some failed)──────── SCP    now, or hours later
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from gateway.dicom.datasets import UNREADABLE, decode, encode
from gateway.dicom.errors import NotDicom
from gateway.dicom.sop_classes import is_uid

INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance of the Push Model."""

ACTION_REQUEST = 1
EVENT_COMPLETE = 1
EVENT_FAILURES = 2

MOST_BYTES = 16 << 20
"""Longest data set of a request or report taken."""
MOST_REFERENCES = 100_000
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

_TRANSACTION_UID = Tag(0x0008, 0x1195)
_REFERENCED = Tag(0x0008, 0x1199)
_FAILED = Tag(0x0008, 0x1198)
_CLASS_UID = Tag(0x0008, 0x1150)
_INSTANCE_UID = Tag(0x0008, 0x1155)
_REASON = Tag(0x0008, 0x1197)


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
    data_set = Dataset()
    data_set.TransactionUID = UID(notice.transaction_uid)
    if notice.committed or not notice.failed:
        data_set.ReferencedSOPSequence = [_item(each) for each in notice.committed]
    if notice.failed:
        data_set.FailedSOPSequence = [_item(each) for each in notice.failed]
    return encode(data_set, transfer_syntax)


def decode_notice(data: bytes | bytearray, transfer_syntax: str) -> Notice:
    """Read Action or Event Information; raises NotDicom when it is none.

    Values are read as bytes, past pydicom's conversions: a peer's odd value raises no warning.
    """
    data_set = decode(data, transfer_syntax)
    try:
        transaction = _uid(data_set, _TRANSACTION_UID)
        committed = tuple(_references(data_set))
        failed = tuple(_failures(data_set))
    except UNREADABLE as error:
        raise NotDicom(f"a commitment notice cannot be read ({type(error).__name__})") from error
    if not is_uid(transaction):
        raise NotDicom("a commitment notice has no usable Transaction UID")
    if len(committed) + len(failed) > MOST_REFERENCES:
        raise NotDicom(f"a commitment notice names over {MOST_REFERENCES} instances")
    if not committed and not failed:
        raise NotDicom("a commitment notice names no instance")
    return Notice(transaction, committed, failed)


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(reference.sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(reference.sop_instance_uid)
    if isinstance(reference, Failure):
        item.FailureReason = reference.reason
    return item


def _references(data_set: Dataset) -> Iterator[Reference]:
    for item in _items(data_set, _REFERENCED):
        yield Reference(*_pair(item))


def _failures(data_set: Dataset) -> Iterator[Failure]:
    for item in _items(data_set, _FAILED):
        raw = _bytes(item, _REASON)
        # Type 1, but a report without it is a failure all the same.
        reason = int.from_bytes(raw, "little") if len(raw) == 2 else 0x0110
        yield Failure(*_pair(item), reason)


def _items(data_set: Dataset, tag: int) -> Iterable[Dataset]:
    return data_set[tag].value or () if tag in data_set else ()


def _pair(item: Dataset) -> tuple[str, str]:
    pair = _uid(item, _CLASS_UID), _uid(item, _INSTANCE_UID)
    if not all(is_uid(uid) for uid in pair):
        raise ValueError("a reference without usable UIDs")
    return pair


def _uid(data_set: Dataset, tag: int) -> str:
    return _bytes(data_set, tag).decode("ascii").strip(" \0")


def _bytes(data_set: Dataset, tag: int) -> bytes:
    if tag not in data_set:
        return b""
    value = data_set.get_item(tag).value
    if value is None:
        return b""
    if not isinstance(value, bytes):
        raise TypeError("an element that is no raw value")
    return value
