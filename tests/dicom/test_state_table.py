"""Every cell of the state table that a caller can reach (PS3.8 9.2, Table 9-10), by bytes.

States of an acceptor that reads: Sta2 (awaiting A-ASSOCIATE-RQ), Sta6 (established), Sta6 within
a message, and Sta13 (awaiting the close after A-RELEASE-RP, A-ABORT or A-ASSOCIATE-RJ).  Sta3,
Sta7 to Sta12 belong to a requestor, or pass within one call here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from gateway.dicom import pdu
from gateway.dicom.limits import Limits
from tests.support.dicompeer import Parrot, Station, p_data, pdv, request, store_command

RQ = pdu.encode_request(request())
STORE = p_data(pdv(1, store_command(), command=True))
WITHIN = STORE + p_data(pdv(1, b"half", last=False))
PDUS: dict[str, bytes] = {
    "A-ASSOCIATE-RQ": RQ,
    "A-ASSOCIATE-AC": pdu.encode_accept(
        pdu.AssociateAccept("AI", "CT1", (), pdu.UserInformation(max_pdu=16384))
    ),
    "A-ASSOCIATE-RJ": pdu.reject(1, 1, 7),
    "P-DATA-TF": STORE + p_data(pdv(1, b"ok")),
    "A-RELEASE-RQ": pdu.RELEASE_RQ,
    "A-RELEASE-RP": pdu.RELEASE_RP,
    "A-ABORT": pdu.abort(0, 0),
    "unknown": pdu.HEADER.pack(0x42, 4) + bytes(4),
}

ACCEPTED, STORED, RELEASED, CLOSED = "accepted", "stored", "released", "closed"
AA1, UNEXPECTED, UNRECOGNIZED = (0, 0), (2, 2), (2, 1)
Answer = str | tuple[int, int]

TABLE: dict[tuple[str, str], Answer] = {
    ("Sta2", "A-ASSOCIATE-RQ"): ACCEPTED,  # AE-6
    ("Sta2", "A-ASSOCIATE-AC"): AA1,
    ("Sta2", "A-ASSOCIATE-RJ"): AA1,
    ("Sta2", "P-DATA-TF"): AA1,
    ("Sta2", "A-RELEASE-RQ"): AA1,
    ("Sta2", "A-RELEASE-RP"): AA1,
    ("Sta2", "A-ABORT"): CLOSED,  # AA-2
    ("Sta2", "unknown"): AA1,
    ("Sta6", "A-ASSOCIATE-RQ"): UNEXPECTED,  # AA-8
    ("Sta6", "A-ASSOCIATE-AC"): UNEXPECTED,
    ("Sta6", "A-ASSOCIATE-RJ"): UNEXPECTED,
    ("Sta6", "P-DATA-TF"): STORED,  # DT-2
    ("Sta6", "A-RELEASE-RQ"): RELEASED,  # AR-2, AR-4
    ("Sta6", "A-RELEASE-RP"): UNEXPECTED,
    ("Sta6", "A-ABORT"): CLOSED,  # AA-3
    ("Sta6", "unknown"): UNRECOGNIZED,
    ("Sta6 within", "A-ASSOCIATE-RQ"): UNEXPECTED,
    ("Sta6 within", "A-ASSOCIATE-AC"): UNEXPECTED,
    ("Sta6 within", "A-ASSOCIATE-RJ"): UNEXPECTED,
    # A command set within a data set: legal for the upper layer, not for DIMSE.
    ("Sta6 within", "P-DATA-TF"): (2, 6),
    # Also legal for the upper layer: but the message would be lost without a word.
    ("Sta6 within", "A-RELEASE-RQ"): UNEXPECTED,
    ("Sta6 within", "A-RELEASE-RP"): UNEXPECTED,
    ("Sta6 within", "A-ABORT"): CLOSED,
    ("Sta6 within", "unknown"): UNRECOGNIZED,
} | {
    # AA-6 ignores, AA-2 and AA-7 close: the one who waits for the close hears nothing more.
    (f"Sta13 after {after}", kind): CLOSED
    for after in ("release", "abort", "reject")
    for kind in PDUS
}


@pytest.fixture
def station(stations: Callable[..., Station]) -> Station:
    return stations(limits=Limits(artim_seconds=2, linger_seconds=0.3))


def reach(parrot: Parrot, state: str) -> None:
    """Bring the other end into ``state``."""
    if state == "Sta2":
        return
    if state == "Sta13 after reject":
        parrot.say(pdu.encode_request(request(called="NOBODY")))
        heard = parrot.hear()
        assert heard is not None
        assert heard[0] == pdu.PduType.ASSOCIATE_RJ
        return
    parrot.associate()
    if state == "Sta6 within":
        parrot.say(WITHIN)
    elif state == "Sta13 after release":
        parrot.say(pdu.RELEASE_RQ)
        assert parrot.hear() == (pdu.PduType.RELEASE_RP, bytes(4))
    elif state == "Sta13 after abort":
        parrot.say(PDUS["unknown"])
        assert parrot.hear() == (pdu.PduType.ABORT, b"\0\0\2\1")


def test_the_table_is_whole() -> None:
    states = {state for state, _ in TABLE}
    assert len(states) == 6
    assert TABLE.keys() == {(state, kind) for state in states for kind in PDUS}


@pytest.mark.parametrize(("state", "kind"), TABLE, ids=lambda value: value.replace(" ", "-"))
def test_cell(station: Station, state: str, kind: str) -> None:
    expected = TABLE[state, kind]
    parrot = Parrot(station.port)
    reach(parrot, state)
    parrot.say(PDUS[kind])
    if expected == CLOSED:
        assert parrot.hear() is None
    else:
        heard = parrot.hear()
        assert heard is not None
        meant = {ACCEPTED: 2, STORED: 4, RELEASED: 6}
        if isinstance(expected, str):
            assert heard[0] == meant[expected]
        else:
            assert (heard[0], heard[1][2], heard[1][3]) == (7, *expected)
            assert parrot.hear() is None
    parrot.close()
    ended(station)
    kept = 1 if expected == STORED else 0
    assert len(station.spool.stored) == kept


def ended(station: Station) -> None:
    """No association is open any more, none hangs, and no half image lies about."""
    end = time.monotonic() + 5
    while station.scp._threads:
        assert time.monotonic() < end, "a connection hangs"
        time.sleep(0.005)
    assert station.scp.active == 0
    assert "OPEN" not in {record.state for record in station.records()}
    kept = {item.path.name for item in station.spool.stored}
    assert {path.name for path in station.spool.folder.iterdir()} == kept


def test_every_unknown_type_in_both_states(station: Station) -> None:
    known = {int(kind) for kind in pdu.PduType} | {0x16}
    for kind in sorted(set(range(256)) - known):
        fresh, open_one = Parrot(station.port), Parrot(station.port)
        open_one.associate()
        for parrot, answer in ((fresh, b"\0\0\0\0"), (open_one, b"\0\0\2\1")):
            parrot.say(pdu.HEADER.pack(kind, 0))
            assert parrot.hear() == (pdu.PduType.ABORT, answer), kind
            parrot.close()
    ended(station)


def depart(station: Station, said: bytes) -> None:
    """Say something, close one's own way, and wait until the other end has closed too."""
    parrot = Parrot(station.port)
    parrot.say(said)
    parrot.sock.shutdown(socket.SHUT_WR)
    while parrot.sock.recv(1 << 16):
        pass
    parrot.close()


def test_an_abort_at_every_point(station: Station) -> None:
    image = bytes(range(40))
    message = p_data(pdv(1, store_command()[:30], command=True, last=False))
    message += p_data(pdv(1, store_command()[30:], command=True), pdv(1, image[:10], last=False))
    message += p_data(pdv(1, image[10:20], last=False), pdv(1, image[20:]))
    whole = RQ + message + pdu.RELEASE_RQ
    sizes = [len(RQ), len(RQ) + len(message)]
    # At each byte: after it comes an A-ABORT, which within a PDU is just its next bytes.
    for at in range(0, len(whole), 3):
        for farewell in (pdu.abort(0, 0), b""):
            depart(station, whole[:at] + farewell)
    # And exactly between PDUs.
    for at in sizes:
        depart(station, whole[:at] + pdu.abort(2, 2))
    ended(station)
    # What was stored was whole; an A-ABORT within the last PDU is no PDU, but its last bytes.
    assert {len(item.data) for item in station.spool.stored} == {len(image)}
    parrot = Parrot(station.port)
    parrot.say(whole)
    assert [heard[0] for heard in iter(parrot.hear, None)] == [2, 4, 6]
    parrot.close()
