"""kill -9 while delivering: nothing with a positive answer on disk is sent again, nothing lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gateway.delivery.states import FAULT_POINTS
from tests.support.deliveries import (
    AeFolder,
    delivering,
    delivering_process,
    peer,
    positive_on_disk,
    wait_until,
    worker,
)
from tests.support.job_payload import JobPayload
from tests.support.scripted_scp import running_scripted_scp

DICOM_POINTS = [name for name in FAULT_POINTS if "folder" not in name]
MANY = {"delivery.answered", "delivery.recorded"}


@pytest.mark.crash
@pytest.mark.parametrize("fault", [f"{name}:4" if name in MANY else name for name in DICOM_POINTS])
def test_killed_at_a_fault_point(house: JobPayload, tmp_path: Path, fault: str) -> None:
    uids = []
    for _ in range(2):
        job = house.job()
        uids += house.write(job, 3)
        house.register(job)
    # A PACS may answer what it has already with "duplicate": after a kill that is a success.
    with running_scripted_scp(lambda _uid, before: 0x0111 if before else 0) as scp:
        ae = AeFolder(tmp_path / "ae", [peer("PACS", scp.port, scp.aet)])
        with delivering_process(house, tmp_path / "ae", fault) as process:
            assert process.wait(30) == -signal.SIGKILL
        safe = positive_on_disk(house)
        before = len(scp.received)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: {r.state for r in house.results()} == {"DELIVERED"})
        again = {uid for uid, _ in scp.received[before:]}
    assert not again & safe
    assert again | safe == set(uids)
    # Only what was on the wire at the moment of death can be there twice.
    assert len(scp.received) <= len(uids) + 1
    assert len(house.events("result/delivered")) == 2


@pytest.mark.crash
def test_killed_again_and_again(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 30)
    (result_id,) = house.register(job)
    kills = 3
    with running_scripted_scp() as scp:
        ae = AeFolder(tmp_path / "ae", [peer("PACS", scp.port, scp.aet)])
        for round_ in range(kills):
            before = len(scp.received)
            safe = positive_on_disk(house)
            with delivering_process(house, tmp_path / "ae") as process:
                wait_until(lambda seen=before, add=3 + round_: len(scp.received) >= seen + add)
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            assert not {uid for uid, _ in scp.received[before:]} & safe
        safe, before = positive_on_disk(house), len(scp.received)
        assert len(safe) < len(uids)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: house.result(result_id).state == "DELIVERED")
        assert not {uid for uid, _ in scp.received[before:]} & safe
    assert {uid for uid, _ in scp.received} == set(uids)
    assert len(scp.received) <= len(uids) + kills
