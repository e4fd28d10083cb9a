"""The worker against a scripted SCP: every way a PACS may answer."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.database.schema import circuits
from gateway.delivery.dicom_agent import DicomAgent
from gateway.results import tasks
from gateway.results.backoff import Backoff
from tests.support.deliveries import QUICK, AeFolder, delivering, peer, wait_until, worker
from tests.support.job_payload import JobPayload
from tests.support.programs import free_port
from tests.support.scripted_scp import ScriptedScp, running_scripted_scp


def config(tmp_path: Path, scp: ScriptedScp, name: str = "PACS") -> AeFolder:
    return AeFolder(tmp_path / "ae", [peer(name, scp.port, scp.aet)])


def state(house: JobPayload, result_id: str) -> str:
    return str(house.result(result_id).state)


def test_all_results_go_over_one_association(house: JobPayload, tmp_path: Path) -> None:
    uids, results = [], []
    for _ in range(3):
        job = house.job()
        uids += house.write(job, 3)
        results += house.register(job, ["pacs"])
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: all(state(house, r) == "DELIVERED" for r in results))
    assert scp.stored() == uids
    assert scp.associations == 1
    assert {(f.state, f.status, f.attempts) for f in house.files()} == {("SENT", 0, 1)}
    assert all(f.sent_at <= time.time() for f in house.files())
    assert [e.result_id for e in house.events("result/delivered")] == results


def test_what_is_not_released_stays(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job, release=False)
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            time.sleep(0.3)
    assert (scp.associations, state(house, result_id)) == (0, "PENDING")


def test_a_warning_is_positive_and_kept(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 3)
    (result_id,) = house.register(job)
    with running_scripted_scp(lambda uid, _: 0xB000 if uid == uids[1] else 0) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert [f.state for f in house.files(result_id)] == ["SENT", "WARNING", "SENT"]
    assert "B000H" in house.result(result_id).reason
    assert len(scp.received) == 3


def test_out_of_resources_is_tried_again_alone(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 3)
    (result_id,) = house.register(job)
    with running_scripted_scp(lambda u, n: 0xA700 if u == uids[1] and n < 7 else 0) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: house.result(result_id).state == "WAITING")
            row = house.result(result_id)
            assert row.reason == "2 of 3 files delivered; out of resources (A700H)"
            assert row.next_at is not None
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    # More tries than a permanent failure gets, and only of the one without a positive answer.
    assert [scp.count(uid) for uid in uids] == [1, 8, 1]
    assert len(house.events("result/waiting")) == 1


@pytest.mark.parametrize("status", [0xC000, 0xA900, 0x0122, 0x0111])
def test_a_permanent_failure_ends_failed_after_n_tries(
    house: JobPayload, tmp_path: Path, status: int
) -> None:
    job = house.job()
    uids = house.write(job, 3)
    (result_id,) = house.register(job)
    tries = 2 if status != 0x0111 else 1
    policy = replace(QUICK, permanent_tries=tries)
    mended = False

    def script(uid: str, _before: int) -> int:
        return status if uid == uids[0] and not mended else 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live, policy)):
            wait_until(lambda: state(house, result_id) == "FAILED")
            assert [scp.count(uid) for uid in uids] == [tries, 1, 1]
            reason = house.result(result_id).reason
            assert reason.startswith("2 of 3 files delivered; ")
            assert f"{status:04X}H" in reason
            assert [f.state for f in house.files(result_id)] == ["FAILED", "SENT", "SENT"]
            (event,) = house.events("result/failed")
            assert event.data["reason"] == reason
            mended = True
            with house.database.begin() as connection:
                tasks.retry(connection, result_id)
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert [scp.count(uid) for uid in uids] == [tries + 1, 1, 1]


def test_a_duplicate_of_a_lost_answer_counts_as_arrived(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 2)
    (result_id,) = house.register(job)

    def script(uid: str, before: int) -> int | str:
        if uid == uids[0]:
            return 0x0111 if before else "abort"
        return 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert [f.state for f in house.files(result_id)] == ["WARNING", "SENT"]


def test_an_instance_that_breaks_associations_holds_up_nobody(
    house: JobPayload, tmp_path: Path
) -> None:
    job, other = house.job(), house.job()
    poison = house.write(job, 1)[0]
    rest = house.write(other, 5)
    (bad,) = house.register(job)
    (good,) = house.register(other)
    with running_scripted_scp(lambda u, _: "abort" if u == poison else 0) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, good) == "DELIVERED")
            wait_until(lambda: house.result(bad).retries >= 2)
            assert state(house, bad) in ("WAITING", "SENDING")
    assert [scp.count(uid) for uid in rest] == [1] * 5


def test_a_refused_class_fails_alone(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    seg = "1.2.840.10008.5.1.4.1.1.66.4"
    good = house.write(job, 1)
    house.write(job, 1, first=2, SOPClassUID=seg)
    (result_id,) = house.register(job)
    policy = replace(QUICK, permanent_tries=2)
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live, policy)):
            wait_until(lambda: state(house, result_id) == "FAILED")
    assert scp.stored() == good
    assert seg in house.result(result_id).reason


def test_a_file_that_is_no_dicom_never_counts_as_sent(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 1)
    (house.folder(job) / "operators" / "writer" / "seg" / "notes.txt").write_text("hello")
    (result_id,) = house.register(job)
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "FAILED")
    assert len(scp.stored()) == 1
    assert "1 of 2 files delivered" in house.result(result_id).reason


def test_a_file_changed_after_registration_is_not_sent(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 2)
    (result_id,) = house.register(job)
    first, second = house.files(result_id)
    with (house.folder(job) / first.path).open("ab") as file:
        file.write(b"\0\0")
    (house.folder(job) / second.path).unlink()
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "FAILED")
    assert scp.received == []
    reason = house.result(result_id).reason
    assert "changed after registration" in reason
    assert "gone" in reason


def test_down_then_up_by_itself(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 2)
    (result_id,) = house.register(job)
    port = free_port()
    ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "SCRIPTED")])

    def opened() -> bool:
        return any(e.data["state"] == "OPEN" for e in house.events("destination/circuit"))

    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(opened)
        wait_until(lambda: house.result(result_id).state == "WAITING")
        assert "0 of 2 files delivered; SCRIPTED@127.0.0.1" in house.result(result_id).reason
        job2 = house.job()
        uids += house.write(job2, 1)
        (later,) = house.register(job2)
        wait_until(lambda: house.result(later).state in ("WAITING", "SENDING"))
        with running_scripted_scp(port=port) as scp:
            wait_until(lambda: {state(house, r) for r in (result_id, later)} == {"DELIVERED"})
    assert sorted(scp.stored()) == sorted(uids)
    with house.database.read() as connection:
        row = connection.execute(sa.select(circuits)).one()
    assert (row.destination, row.state, row.failures) == ("PACS", "CLOSED", 0)


def test_an_open_circuit_is_left_alone(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job)
    with house.database.begin() as connection:
        connection.execute(
            sa.insert(circuits).values(
                destination="PACS",
                state="OPEN",
                failures=3,
                reason="down",
                changed_at=0,
                retry_at=time.time() + 1000,
            )
        )
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "WAITING")
            assert house.result(result_id).reason == "PACS is left alone for now: down"
            time.sleep(0.2)
            assert scp.associations == 0
            with house.database.begin() as connection:
                tasks.retry(connection, result_id)
            wait_until(lambda: state(house, result_id) == "DELIVERED")


def test_a_destination_that_works_again_gets_all_that_waited(
    house: JobPayload, tmp_path: Path
) -> None:
    job, other = house.job(), house.job()
    house.write(job, 1)
    house.write(other, 1)
    slow = replace(QUICK, backoff=Backoff(1e5, 1e6), circuit_limit=10)
    (waiting,) = house.register(job)
    port = free_port()
    ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "SCRIPTED")])
    with delivering(worker(house.database, house.data_dir, ae.live, slow)):
        wait_until(lambda: state(house, waiting) == "WAITING")
        with running_scripted_scp(port=port):
            (fresh,) = house.register(other)
            wait_until(lambda: {state(house, r) for r in (waiting, fresh)} == {"DELIVERED"})


def test_a_changed_configuration_takes_effect_at_once(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job)
    slow = replace(QUICK, backoff=Backoff(1e5, 1e6), circuit_limit=1)
    with running_scripted_scp() as scp:
        ae = AeFolder(tmp_path / "ae", [peer("PACS", scp.port, "WRONG")])
        with delivering(worker(house.database, house.data_dir, ae.live, slow)):
            wait_until(lambda: state(house, result_id) == "WAITING")
            assert "called AE title not recognized" in house.result(result_id).reason
            ae.change([])
            wait_until(lambda: "no destination" in house.result(result_id).reason)
            assert "'pacs'" in house.result(result_id).reason
            ae.change([peer("PACS", scp.port, scp.aet)])
            wait_until(lambda: state(house, result_id) == "DELIVERED")


def test_a_hanging_peer_holds_up_nobody(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 2)
    house.register(job, ["SLOW", "FAST"], known=["SLOW", "FAST"])
    by_name = {row.destination: row.id for row in house.results(job)}
    with (
        running_scripted_scp(lambda _u, n: 0 if n else "hang", "SLOW") as slow,
        running_scripted_scp(aet="FAST") as fast,
    ):
        ae = AeFolder(tmp_path / "ae", [peer("SLOW", slow.port), peer("FAST", fast.port)])
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: len(slow.received) == 1)
            wait_until(lambda: state(house, by_name["FAST"]) == "DELIVERED", 1.5)
            assert state(house, by_name["SLOW"]) == "SENDING"
            # The association times out, the next try goes through.
            slow.release_hung.set()
            wait_until(lambda: state(house, by_name["SLOW"]) == "DELIVERED")
    assert fast.stored() == uids


def test_a_stop_keeps_what_was_answered(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 50)
    (result_id,) = house.register(job)
    subject = None

    def script(uid: str, _before: int) -> int:
        if uid == uids[5] and subject is not None:
            subject.stop()
        return 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp)
        subject = worker(house.database, house.data_dir, ae.live)
        with delivering(subject):
            wait_until(lambda: len(scp.received) == 6)
        assert state(house, result_id) == "PENDING"
        assert len(scp.received) == 6
        subject = None
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert scp.stored() == uids


def test_a_fault_of_our_own_is_seen_and_tried_again(
    house: JobPayload, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job)

    class Broken(DicomAgent):
        def deliver(self, *arguments: Any) -> bool:
            if broken:
                raise RuntimeError("SECRET^PATIENT")
            return super().deliver(*arguments)

    broken = True
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        subject = worker(house.database, house.data_dir, ae.live, dicom=Broken())
        with delivering(subject):
            wait_until(lambda: house.result(result_id).retries >= 2)
            wait_until(lambda: "internal error (RuntimeError)" in house.result(result_id).reason)
            broken = False
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert "delivery failed" in caplog.text
    assert "SECRET" not in caplog.text + str([vars(r) for r in caplog.records])
