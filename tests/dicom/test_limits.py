"""Every limit of ``dicom.limits`` refuses with its own source and reason."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gateway.config.settings import DicomLimits
from gateway.dicom import pdu
from gateway.dicom.limits import Limits
from tests.support.dicompeer import Parrot, Station, p_data, pdv, request, store_command

STORE = p_data(pdv(1, store_command(), command=True), pdv(1, b"ok"))


def limited(**settings: float) -> Limits:
    return Limits.of(DicomLimits.model_validate(settings))


def rejection(station: Station, wanted: pdu.AssociateRequest) -> tuple[int, int, int]:
    parrot = Parrot(station.port)
    parrot.say(pdu.encode_request(wanted))
    heard = parrot.hear()
    assert heard is not None
    assert heard[0] == pdu.PduType.ASSOCIATE_RJ, heard
    parrot.close()
    return heard[1][1], heard[1][2], heard[1][3]


def abort(parrot: Parrot) -> tuple[int, int]:
    heard = parrot.hear()
    assert heard is not None
    assert heard[0] == pdu.PduType.ABORT, heard
    return heard[1][2], heard[1][3]


def test_the_settings_reach_the_listener(stations: Callable[..., Station]) -> None:
    station = stations(limits=None, settings={"limits": {"contexts": 2, "idle-seconds": 9}})
    assert station.scp._limits.contexts == 2
    assert station.scp._limits.idle_seconds == 9
    assert Limits.of(DicomLimits()) == Limits()


def test_associations_per_peer(stations: Callable[..., Station]) -> None:
    station = stations(limits=limited(associations_per_peer=2))
    open_ones = [Parrot(station.port) for _ in range(2)]
    for parrot in open_ones:
        parrot.associate()
    assert rejection(station, request()) == (2, 3, 2)
    assert "127.0.0.1 has 2 associations open" in station.records()[-1].reason
    open_ones[0].release()
    last = Parrot(station.port)
    last.associate()
    last.release()
    open_ones[1].release()


def test_associations_in_total(stations: Callable[..., Station]) -> None:
    station = stations(settings={"max_associations": 1})
    parrot = Parrot(station.port)
    parrot.associate()
    assert rejection(station, request()) == (2, 3, 2)
    assert "dicom.max-associations" in station.records()[-1].reason
    parrot.release()


def test_contexts(stations: Callable[..., Station]) -> None:
    station = stations(limits=limited(contexts=3))
    ct = ("1.2.840.10008.5.1.4.1.1.2", ["1.2.840.10008.1.2"])
    assert rejection(station, request([ct] * 4)) == (1, 3, 2)
    assert "dicom.limits.contexts" in station.records()[-1].reason
    parrot = Parrot(station.port)
    assert [c.result for c in parrot.associate(request([ct] * 3)).contexts] == [0, 0, 0]
    parrot.release()


def test_command_bytes(stations: Callable[..., Station]) -> None:
    station = stations(limits=limited(command_bytes=1024))
    parrot = Parrot(station.port)
    parrot.associate()
    parrot.say(STORE)
    assert parrot.response().number(0x0900) == 0
    parrot.say(p_data(pdv(1, store_command(e1000=b"1" * 1100), command=True)))
    assert abort(parrot) == (2, 6)
    parrot.close()


def test_pdu_length(stations: Callable[..., Station]) -> None:
    station = stations(settings={"max_pdu": 4096})
    parrot = Parrot(station.port)
    assert parrot.associate().user.max_pdu == 4096
    parrot.say(p_data(pdv(1, store_command(), command=True)))
    parrot.say(p_data(pdv(1, bytes(4090), last=False)))
    parrot.say(p_data(pdv(1, bytes(4200))))
    assert abort(parrot) == (2, 6)
    parrot.close()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("idle_seconds", b""),
        ("idle_seconds", STORE),
        ("pdu_seconds", STORE[:-1]),
        ("pdu_seconds", p_data(pdv(1, store_command(), command=True))),
        ("message_seconds", p_data(pdv(1, store_command(), command=True))),
    ],
    ids=["idle", "idle after a message", "within a PDU", "within a message", "message"],
)
def test_times(stations: Callable[..., Station], setting: str, said: bytes) -> None:
    station = stations(limits=limited(**{setting: 0.4}))
    parrot = Parrot(station.port)
    parrot.associate()
    began = time.monotonic()
    parrot.say(said)
    if said == STORE:
        assert parrot.response().number(0x0900) == 0
    if setting == "message_seconds":
        # A message's time is looked at with each PDU; silence within one has its own limit.
        time.sleep(0.5)
        for _ in range(2):
            parrot.say(p_data(pdv(1, b"ab", last=False)))
    assert abort(parrot) == (0, 0)
    assert 0.3 < time.monotonic() - began < 3
    parrot.close()


def test_artim(stations: Callable[..., Station]) -> None:
    station = stations(limits=limited(artim_seconds=0.4))
    silent, half = Parrot(station.port), Parrot(station.port)
    half.say(pdu.encode_request(request())[:50])
    began = time.monotonic()
    assert half.hear() is None
    assert silent.hear() is None
    assert time.monotonic() - began < 3
    assert station.records() == []
    silent.close()
    half.close()
