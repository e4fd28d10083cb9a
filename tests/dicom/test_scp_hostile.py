"""Peers that break the protocol, byte by byte."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable, Iterable

import pytest

from gateway.dicom import dimse, pdu
from gateway.dicom.limits import Limits
from gateway.dicom.upper_layer import TABLE, Action, State, action
from tests.support.dicompeer import Parrot, Station, p_data, pdv, request, store_command

COMMAND = store_command()
IMPLICIT = "1.2.840.10008.1.2"


def raw(kind: int, body: bytes = bytes(4)) -> bytes:
    return pdu.HEADER.pack(kind, len(body)) + body


def aborted(parrot: Parrot) -> tuple[int, int]:
    """The source and reason of the A-ABORT that must come, followed by the close."""
    heard = parrot.hear()
    assert heard is not None
    assert heard[0] == pdu.PduType.ABORT, heard
    assert parrot.hear() is None
    return heard[1][2], heard[1][3]


def ended(station: Station, part: str) -> None:
    end = time.monotonic() + 30
    # The thread ends a moment after it has written the record.
    while station.records()[0].state == "OPEN" or station.scp.active:
        assert time.monotonic() < end, "the association stays open"
        time.sleep(0.01)
    (record,) = station.records()
    assert record.state == "ABORTED"
    assert part in record.reason


def refuses_in_the_end(parrot: Parrot, pieces: Iterable[bytes], pause: float) -> bool:
    """Whether the connection is taken away while ``pieces`` are said."""
    for piece in pieces:
        try:
            parrot.say(piece)
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(pause)
    return False


def still_works(station: Station) -> None:
    parrot = Parrot(station.port)
    parrot.associate()
    parrot.say(p_data(pdv(1, COMMAND, command=True), pdv(1, b"ok")))
    assert parrot.response().number(0x0900) == 0
    parrot.release()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (raw(2, bytes(80)), (0, 0)),
        (raw(3), (0, 0)),
        (p_data(pdv(1, COMMAND, command=True)), (0, 0)),
        (raw(5), (0, 0)),
        (raw(6), (0, 0)),
        (raw(8), (0, 0)),
        (raw(0xFF), (0, 0)),
        (b"GET / HTTP/1.1\r\n\r\n", (0, 0)),
        (pdu.HEADER.pack(1, 0xFFFFFFFF), (0, 0)),
        (raw(1, b"short"), (2, 6)),
    ],
    ids=map(str, range(10)),
)
def test_before_the_association(
    station: Station, parrot: Parrot, sent: bytes, answer: tuple[int, int]
) -> None:
    parrot.say(sent)
    assert aborted(parrot) == answer
    still_works(station)


@pytest.mark.parametrize(
    ("sent", "answer", "reason"),
    [
        (pdu.encode_request(request()), (2, 2), "ASSOCIATE_RQ"),
        (raw(2, bytes(80)), (2, 2), "ASSOCIATE_AC"),
        (raw(3), (2, 2), "ASSOCIATE_RJ"),
        (raw(6), (2, 2), "RELEASE_RP"),
        (raw(9), (2, 1), "unknown type 0x09"),
        (raw(0), (2, 1), "unknown type 0x00"),
        (pdu.HEADER.pack(4, 131072 + 100), (2, 6), "131072 were agreed"),
        (pdu.HEADER.pack(4, 0xFFFFFFFE), (2, 6), "were agreed"),
        (p_data(), (2, 6), "no presentation data value"),
        (p_data(b"\0\0"), (2, 6), "no presentation data value"),
        (p_data(struct.pack(">LBB", 1, 1, 3)), (2, 6), "claims 1 bytes"),
        (p_data(struct.pack(">LBB", 0, 1, 3)), (2, 6), "claims 0 bytes"),
        (p_data(struct.pack(">LBB", 0xFFFFFFFF, 1, 3) + b"x"), (2, 6), "claims 4294967295"),
        (p_data(pdv(1, COMMAND, command=True), b"abc"), (2, 6), "within a PDV header"),
        (p_data(pdv(3, COMMAND, command=True)), (2, 6), "context 3 was not accepted"),
        (p_data(pdv(0, COMMAND, command=True)), (2, 6), "context 0 was not accepted"),
        (p_data(pdv(1, b"data")), (2, 6), "does not belong to the command set"),
        (p_data(pdv(1, COMMAND, command=True)) * 2, (2, 6), "does not belong to the data set"),
        (p_data(pdv(1, COMMAND[:-3], command=True)), (2, 6), "Implicit VR"),
        (p_data(pdv(1, b"\x08\0\x16\0\0\0\0\0", command=True)), (2, 6), "Implicit VR"),
        (p_data(pdv(1, b"", command=True)), (2, 6), "(0000,0100)"),
        (p_data(pdv(1, store_command(e0110=b"absent"), command=True)), (2, 6), "(0000,0110)"),
        (p_data(pdv(1, store_command(e0800=b"absent"), command=True)), (2, 6), "(0000,0800)"),
        (p_data(pdv(1, store_command(e0100=dimse.us(0x8001)), command=True)), (2, 6), "never made"),
        (p_data(pdv(1, COMMAND, command=True)) + raw(5), (2, 2), "middle of a message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_within_the_association(
    station: Station, parrot: Parrot, sent: bytes, answer: tuple[int, int], reason: str
) -> None:
    parrot.associate()
    parrot.say(sent)
    assert aborted(parrot) == answer
    ended(station, reason)
    assert station.spool.stored == []
    still_works(station)


def test_an_endless_command_set(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    piece = p_data(pdv(1, bytes(8000), command=True, last=False))
    assert refuses_in_the_end(parrot, [piece] * 10_000, 0.001)
    ended(station, "exceeds 16384 bytes")


def test_a_message_that_changes_its_context(station: Station, parrot: Parrot) -> None:
    ct = "1.2.840.10008.5.1.4.1.1.2"
    parrot.associate(request([(ct, [IMPLICIT]), (ct, ["1.2.840.10008.1.2.1"])]))
    parrot.say(p_data(pdv(1, COMMAND, command=True), pdv(1, b"half", last=False), pdv(3, b"x")))
    assert aborted(parrot) == (2, 6)
    ended(station, "changes its presentation context")
    assert len(station.spool.aborted) == 1


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_ends_in_mid_image(station: Station, parrot: Parrot, how: str) -> None:
    parrot.associate()
    parrot.say(p_data(pdv(1, COMMAND, command=True), pdv(1, bytes(1000), last=False)))
    if how == "abort":
        parrot.say(pdu.abort(0, 0))
        assert parrot.hear() is None
    elif how == "reset":
        linger = struct.pack("ii", 1, 0)
        parrot.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    parrot.close()
    ended(station, "in the middle of a message")
    assert station.spool.stored == []
    assert len(station.spool.aborted) == 1
    assert list(station.spool.folder.iterdir()) == []
    still_works(station)


def test_an_abort_between_images_is_an_abort(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    parrot.say(pdu.abort(2, 6))
    ended(station, "aborted by the peer's upper layer (reason 6)")


def test_half_an_association_request_ends_by_artim(station: Station, parrot: Parrot) -> None:
    began = time.monotonic()
    parrot.say(pdu.encode_request(request())[:40])
    assert parrot.hear() is None
    assert time.monotonic() - began < 4
    assert station.records() == []
    still_works(station)


def test_a_dribbling_request_ends_by_artim(station: Station, parrot: Parrot) -> None:
    whole = pdu.encode_request(request())
    began = time.monotonic()
    assert refuses_in_the_end(parrot, [whole[i : i + 1] for i in range(len(whole))], 0.05)
    assert time.monotonic() - began < 5
    assert station.records() == []


def test_a_dribbling_data_set_ends_by_its_time(station: Station, parrot: Parrot) -> None:
    parrot.associate()
    parrot.say(p_data(pdv(1, COMMAND, command=True)))
    whole = p_data(pdv(1, bytes(1000)))
    assert refuses_in_the_end(parrot, [whole[i : i + 1] for i in range(len(whole))], 0.02)
    ended(station, "too slow in the middle of a message")
    assert len(station.spool.aborted) == 1


def test_silent_connections_hold_no_thread_and_nobody_up(
    stations: Callable[..., Station],
) -> None:
    station = stations(limits=Limits(artim_seconds=0.8, half_open=50, linger_seconds=0.2))
    silent = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(120)]
    still_works(station)
    assert len(station.scp._threads) <= 1
    dropped = 0
    for sock in silent:
        sock.settimeout(5)
        dropped += sock.recv(1) == b""
        sock.close()
    assert dropped == 120


def test_the_state_table_knows_every_pdu_in_every_state() -> None:
    assert len(TABLE) == len(State) * len(pdu.PduType)
    assert action(State.ESTABLISHED, 0x55) is Action.UNRECOGNIZED


def test_an_endless_message_ends_by_its_time(stations: Callable[..., Station]) -> None:
    station = stations(limits=Limits(message_seconds=0.3, linger_seconds=0.2))
    parrot = Parrot(station.port)
    parrot.associate()
    parrot.say(p_data(pdv(1, COMMAND, command=True)))
    piece = p_data(pdv(1, b"ab", last=False))
    assert refuses_in_the_end(parrot, [piece] * 1000, 0.02)
    ended(station, "a message took over 0.3 seconds in the middle of a message")
    parrot.close()


def test_damaged_streams_end_and_leave_nothing(stations: Callable[..., Station]) -> None:
    short = Limits(artim_seconds=0.2, idle_seconds=0.2, pdu_seconds=0.2, linger_seconds=0.05)
    station = stations(limits=short)
    chance = random.Random(7)  # noqa: S311 - repeatable damage, no secret
    asked = pdu.encode_request(request())
    message = p_data(pdv(1, COMMAND, command=True), pdv(1, bytes(300), last=False))
    message += p_data(pdv(1, bytes(20)))
    whole = asked + message * 2 + pdu.RELEASE_RQ
    for number in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            # Odd numbers damage only what comes after a good association request.
            at = chance.randrange(len(asked) if number % 2 else 0, len(damaged))
            damaged[at] = chance.choice((0, 1, 2, 0x7F, 0xFF, chance.randrange(256)))
        parrot = Parrot(station.port)
        parrot.say(damaged)
        if number % 3:
            parrot.sock.shutdown(socket.SHUT_WR)
        parrot.close()
    end = time.monotonic() + 60
    while station.scp._threads and time.monotonic() < end:
        time.sleep(0.02)
    assert not station.scp._threads
    assert station.scp.active == 0
    assert {record.state for record in station.records()} <= {"RELEASED", "ABORTED", "REJECTED"}
    still_works(station)
    kept = {item.path.name for item in station.spool.stored}
    assert {path.name for path in station.spool.folder.iterdir()} == kept
