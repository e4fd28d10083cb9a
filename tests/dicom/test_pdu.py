from __future__ import annotations

import contextlib
import struct

import pynetdicom.pdu
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.dicom import dimse, pdu
from gateway.dicom.errors import ProtocolViolation
from gateway.dicom.pdu import Role, UserInformation
from tests.support.dicompeer import request, store_command

CT = "1.2.840.10008.5.1.4.1.1.2"
USER = UserInformation(max_pdu=16384, asynchronous=(3, 5), roles=(Role(CT, scu=True, scp=False),))


def encoded() -> bytes:
    return pdu.encode_request(request([(CT, ["1.2.840.10008.1.2.1", "1.2.3"])], user=USER))


def test_a_request_survives_its_encoding() -> None:
    wanted = request([(CT, ["1.2.840.10008.1.2.1", "1.2.3"])], user=USER)
    assert pdu.decode_request(memoryview(encoded())[6:]) == wanted


def test_pynetdicom_reads_what_we_write() -> None:
    theirs = pynetdicom.pdu.A_ASSOCIATE_RQ()
    theirs.decode(encoded())
    assert theirs.encode() == encoded()
    primitive = theirs.to_primitive()
    assert primitive.called_ae_title == "AI"
    assert primitive.maximum_length_received == 16384
    assert primitive.implementation_class_uid == pdu.IMPLEMENTATION_CLASS_UID


def test_unknown_items_are_skipped() -> None:
    body = bytearray(encoded()[6:])
    at = body.index(b"\x50\x00", 68)
    length = struct.unpack_from(">H", body, at + 2)[0]
    extra = b"\x56\x00\x00\x04abcd" + b"\x58\x00\x00\x02xy" + b"\x7f\x00\x00\x00"
    struct.pack_into(">H", body, at + 2, length + len(extra))
    whole = bytes(body) + extra + b"\x99\x00\x00\x01z"
    assert pdu.decode_request(memoryview(whole)).user == USER


@pytest.mark.parametrize("cut", [0, 10, 67, 69, 80, 100, 150])
def test_a_cut_request_is_a_violation(cut: int) -> None:
    with pytest.raises(ProtocolViolation):
        pdu.decode_request(memoryview(encoded())[6 : 6 + cut])


def test_even_and_doubled_context_ids_are_violations() -> None:
    changed = bytearray(encoded())
    at = changed.index(b"\x20\x00", 74)
    changed[at + 4] = 2
    with pytest.raises(ProtocolViolation, match="odd"):
        pdu.decode_request(memoryview(changed)[6:])
    twice = request()
    doubled = pdu.AssociateRequest("AI", "CT1", twice.contexts * 2, twice.user)
    with pytest.raises(ProtocolViolation, match="twice"):
        pdu.decode_request(memoryview(pdu.encode_request(doubled))[6:])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 400), st.binary(min_size=1, max_size=12))
def test_a_damaged_request_is_read_or_a_violation(at: int, junk: bytes) -> None:
    body = bytearray(encoded()[6:])
    body[at : at + len(junk)] = junk
    with contextlib.suppress(ProtocolViolation):
        pdu.decode_request(memoryview(body))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_set_or_a_violation(junk: bytes) -> None:
    try:
        command = dimse.decode(junk)
        _ = command.field, command.message_id, command.has_data_set
    except ProtocolViolation:
        pass


def test_a_response_echoes_and_comments() -> None:
    command = dimse.decode(store_command("1.2.3"))
    answer = dimse.decode(dimse.response(command, 0xC000, "x" * 80))
    assert answer.field == 0x8001
    assert answer.number(0x0120) == 7
    assert answer.number(0x0900) == 0xC000
    assert answer.text(0x0002) == CT
    assert answer.text(0x1000) == "1.2.3"
    assert answer.text(0x0902) == "x" * 64
    assert not answer.has_data_set


def test_what_a_peer_says_is_printable_and_its_uids_are_echoed_raw() -> None:
    hostile = pdu.decode_request(memoryview(encoded().replace(b"CT1 ", b"C\n\x1b1"))[6:])
    assert hostile.calling_ae == "C??1"
    command = dimse.decode(store_command("1.2\x00\n3"))
    assert command.sop_instance_uid == "1.2??3"
    answer = dimse.decode(dimse.response(command, 0xC000, "a\\b\nc"))
    assert answer.elements[0x1000] == b"1.2\0\n3"
    assert answer.elements[0x0902] == b"a/b?c "
