from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.database.engine import Database
from gateway.delivery import circuit
from gateway.delivery.policy import Policy
from gateway.delivery.states import CIRCUIT, Circuit, Signal
from gateway.results.backoff import Backoff
from tests.support.databases import database_url
from tests.support.job_payload import JobPayload

EXPECTED = {
    #             SUCCESS   FAILURE   LIMIT   DUE          CHANGED
    "CLOSED": ["CLOSED", "CLOSED", "OPEN", None, "CLOSED"],
    "OPEN": [None, None, None, "HALF_OPEN", "HALF_OPEN"],
    "HALF_OPEN": ["CLOSED", "OPEN", "OPEN", "HALF_OPEN", "HALF_OPEN"],
}
CELLS = [(s, e, EXPECTED[s][i]) for s in Circuit for i, e in enumerate(Signal)]


@pytest.mark.parametrize(("state", "signal", "expected"), CELLS)
def test_every_cell(state: Circuit, signal: Signal, expected: str | None) -> None:
    assert CIRCUIT.get((state, signal)) == expected


def fail(house: JobPayload, times: int, policy: Policy) -> list[circuit.CircuitRecord]:
    records = []
    for _ in range(times):
        with house.database.begin() as connection:
            records.append(circuit.failed(connection, "PACS", "no answer", policy)[0])
    return records


def admit(house: JobPayload) -> Circuit:
    with house.database.begin() as connection:
        return circuit.admit(connection, "PACS").state


def test_it_opens_at_the_limit_and_probes_when_due(house: JobPayload) -> None:
    policy = Policy(backoff=Backoff(0.05, 0.05), circuit_limit=3)
    assert [r.state for r in fail(house, 3, policy)] == ["CLOSED", "CLOSED", "OPEN"]
    deadline = time.monotonic() + 5
    while admit(house) is Circuit.OPEN:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (opened,) = fail(house, 1, policy)
    assert (opened.state, opened.failures, opened.reason) == ("OPEN", 4, "no answer")
    time.sleep(0.06)
    assert admit(house) is Circuit.HALF_OPEN
    with house.database.begin() as connection:
        closed = circuit.succeeded(connection, "PACS")
    assert (closed.state, closed.failures, closed.reason) == ("CLOSED", 0, None)
    moves = [(e.data["previous"], e.data["state"]) for e in house.events("destination/circuit")]
    assert moves == [
        ("CLOSED", "OPEN"),
        ("OPEN", "HALF_OPEN"),
        ("HALF_OPEN", "OPEN"),
        ("OPEN", "HALF_OPEN"),
        ("HALF_OPEN", "CLOSED"),
    ]


def test_it_survives_a_restart(house: JobPayload, tmp_path: Path) -> None:
    fail(house, 3, Policy(backoff=Backoff(1e6, 1e6)))
    house.close()
    again = Database(database_url(tmp_path / "data"))
    with again.begin() as connection:
        record = circuit.admit(connection, "PACS")
    again.close()
    assert (record.state, record.failures, record.reason) == ("OPEN", 3, "no answer")


def test_a_changed_destination_is_probed_at_once(house: JobPayload) -> None:
    policy = Policy(backoff=Backoff(1e6, 1e6))
    fail(house, 2, policy)
    with house.database.begin() as connection:
        assert circuit.changed(connection, "PACS").failures == 0
    fail(house, 3, policy)
    assert admit(house) is Circuit.OPEN
    with house.database.begin() as connection:
        circuit.changed(connection, "PACS")
    assert admit(house) is Circuit.HALF_OPEN
