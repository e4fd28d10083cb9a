"""Commitment notices as bytes: what is written is read, and nothing breaks the reader."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from gateway.dicom.commitment import (
    MOST_REFERENCES,
    Failure,
    Notice,
    Reference,
    decode_notice,
    encode_notice,
    reason_words,
)
from gateway.dicom.datasets import SYNTAXES, decode, encode
from gateway.dicom.errors import NotDicom
from gateway.dicom.mailbox import MOST_WAITING, Mailbox, MailboxFullError

CT = "1.2.840.10008.5.1.4.1.1.2"
REQUEST = Notice("2.25.7", (Reference(CT, "1.2.3"), Reference(CT, "1.2.4")))
REPORT = Notice("2.25.8", (Reference(CT, "1.2.3"),), (Failure(CT, "1.2.4", 0x0112),))
ALL_FAILED = Notice("2.25.9", (), (Failure(CT, "1.2.4", 0xC001),))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("notice", [REQUEST, REPORT, ALL_FAILED])
def test_what_is_written_is_read(notice: Notice, syntax: str) -> None:
    assert decode_notice(encode_notice(notice, syntax), syntax) == notice


def test_event_types_and_words() -> None:
    assert [n.event_type for n in (REQUEST, REPORT, ALL_FAILED)] == [1, 2, 2]
    assert reason_words(0x0119) == "class-instance conflict (0119H)"
    assert reason_words(0xC001) == "unknown reason (C001H)"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_mutilated_notices_are_refused_or_read(syntax: str) -> None:
    whole = encode_notice(REPORT, syntax)
    chance = random.Random(7)  # noqa: S311 - repeatable, no secret
    refused = 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(1, len(data) + 1) :]
        try:
            decode_notice(data, syntax)
        except NotDicom:
            refused += 1
    assert refused > 1000


def test_too_many_and_too_deep() -> None:
    item = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    many = b"\x08\x00\x99\x11\xff\xff\xff\xff" + item * (MOST_REFERENCES + 1)
    with pytest.raises(NotDicom, match="over 20000"):
        decode_notice(many, SYNTAXES[1])
    with pytest.raises(NotDicom, match="over 200000 elements"):
        decode_notice(b"\x09\x00\x01\x00\x00\x00\x00\x00" * 200_001, SYNTAXES[1])
    deep = b"\x08\x00\x99\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    with pytest.raises(NotDicom, match="too deep"):
        decode_notice(deep, SYNTAXES[0])


def undefined(notice: Notice, *, implicit: bool) -> bytes:
    """The notice as some senders write it: every length undefined, a nested sequence between."""
    ds = decode(encode_notice(notice, SYNTAXES[implicit]), SYNTAXES[implicit])
    nested = Dataset()
    nested.CodeValue = "1"
    for sequence in (ds.ReferencedSOPSequence, ds.FailedSOPSequence):
        sequence.is_undefined_length = True
        for item in sequence:
            item.is_undefined_length_sequence_item = True
            item.PurposeOfReferenceCodeSequence = [nested]
            item["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    ds["ReferencedSOPSequence"].is_undefined_length = True
    ds["FailedSOPSequence"].is_undefined_length = True
    return encode(ds, SYNTAXES[implicit])


@pytest.mark.parametrize("implicit", [False, True])
def test_undefined_lengths(implicit: bool) -> None:
    data = undefined(REPORT, implicit=implicit)
    assert data.count(b"\xff\xff\xff\xff") == 6
    assert decode_notice(data, SYNTAXES[implicit]) == REPORT


def test_wrong_uids_raise_no_warning() -> None:
    ds = decode(encode_notice(REQUEST, SYNTAXES[0]), SYNTAXES[0])
    data = encode(ds, SYNTAXES[0]).replace(b"1.2.3\0", b"1.x.3\0")
    with pytest.raises(NotDicom, match="without usable UIDs"):
        decode_notice(data, SYNTAXES[0])


def test_the_mailbox_keeps_order_and_bounds(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    for number in range(3):
        mailbox.put({"number": number})
    assert [document["number"] for _, document in mailbox.waiting()] == [0, 1, 2]
    (tmp_path / "commitments" / "bad.json").write_text("{")
    assert len(list(mailbox.waiting())) == 3
    assert (tmp_path / "commitments" / "bad.bad").exists()
    for number in range(MOST_WAITING - 3):
        (tmp_path / "commitments" / f"{number}.json").touch()
    with pytest.raises(MailboxFullError):
        mailbox.put({})


def test_the_mailbox_knows_only_what_it_was_told(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mailbox.expect("2.25.1")
    assert mailbox.expects("2.25.1")
    for other in ("2.25.2", "", "..", "../answers", "2.25.1/../2.25.1"):
        assert not mailbox.expects(other)
    mailbox.forget("2.25.1")
    assert not mailbox.expects("2.25.1")
    mailbox.answer("a" * 32, {"x": 1})
    assert mailbox.take_answer("a" * 32) == {"x": 1}
    assert mailbox.take_answer("a" * 32) is None
