from __future__ import annotations

from gateway.dicom import pdu
from gateway.dicom.flood import RejectionBudget
from tests.support.dicompeer import Parrot, Station, request


def test_a_host_spends_its_burst_then_its_rate() -> None:
    now = [0.0]
    budget = RejectionBudget(rate=2, burst=3, clock=lambda: now[0])
    assert [budget.spend("a") for _ in range(5)] == [0, 0, 0, None, None]
    assert budget.spend("b") == 0
    now[0] = 0.5
    assert budget.spend("a") == 2
    assert budget.spend("a") is None
    now[0] = 100
    assert [budget.spend("a") for _ in range(4)] == [1, 0, 0, None]


def test_memory_is_bounded() -> None:
    budget = RejectionBudget()
    for number in range(5000):
        assert budget.spend(str(number)) == 0
    assert len(budget._hosts) == 1024


def test_every_caller_is_answered_but_not_every_one_recorded(station: Station) -> None:
    for _ in range(60):
        parrot = Parrot(station.port)
        parrot.say(pdu.encode_request(request(called="NOPE")))
        assert parrot.hear() == (3, bytes((0, 1, 1, 7)))
        parrot.close()
    assert 20 <= len(station.records()) < 50
