"""Several associations to one destination at once: nothing twice, nothing lost, whatever breaks."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from gateway.database.schema import circuits
from gateway.delivery.agent import Item, LinkError
from gateway.delivery.dicom_agent import DicomAgent
from gateway.delivery.parallel import shares
from gateway.delivery.worker import DeliveryWorker
from tests.support.counting_pacs import CountingPacs, counting_pacs
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
from tests.support.programs import free_port
from tests.support.scripted_scp import ScriptedScp, running_scripted_scp

MANY = 4


def config(tmp_path: Path, scp: ScriptedScp | CountingPacs, count: int = MANY) -> AeFolder:
    aet = scp.aet if isinstance(scp, ScriptedScp) else scp.ae_title
    return AeFolder(tmp_path / "ae", [peer("PACS", scp.port, aet) | {"associations": count}])


def state(house: JobPayload, result_id: str) -> str:
    return str(house.result(result_id).state)


def item(number: int, size: int, uid: str | None) -> Item:
    return Item(number, "r", "j", Path("x"), f"{number}", size, uid, "1.2", "1.2", 0)


def test_files_are_shared_out_once_by_bytes() -> None:
    sizes = [100, 1, 1, 50, 60, 1, 1, 1]
    items = [item(n, size, f"1.{n}") for n, size in enumerate(sizes)]
    parts = shares(items, 3)
    assert [[i.file_id for i in part] for part in parts] == [[0], [1, 3, 5, 6, 7], [2, 4]]
    assert [len(part) for part in shares(items[:2], 16)] == [1, 1]
    assert shares(items, 1) == [items]
    assert shares([], 4) == []


def test_one_uid_goes_over_one_association() -> None:
    items = [item(n, 10, f"1.{n % 3}") for n in range(12)] + [item(n, 1, None) for n in (20, 21)]
    parts = shares(items, 4)
    homes = [{i.sop_instance_uid for i in part} - {None} for part in parts]
    assert sum(len(home) for home in homes) == 3
    assert sorted(i.file_id for part in parts for i in part) == sorted(i.file_id for i in items)


def test_a_batch_goes_over_several_at_once(house: JobPayload, tmp_path: Path) -> None:
    job, other = house.job(), house.job()
    uids = house.write(job, 20) + house.write(other, 3, first=21)
    results = [*house.register(job), *house.register(other)]
    together = threading.Barrier(MANY)

    def script(uid: str, _before: int) -> int:
        if not together.broken and uid in uids[:MANY]:
            together.wait(20)
        return 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: {state(house, r) for r in results} == {"DELIVERED"}, 30)
    assert not together.broken
    assert scp.associations == MANY
    assert Counter(uid for uid, _ in scp.received) == Counter(uids)
    assert {(f.state, f.status, f.attempts) for f in house.files()} == {("SENT", 0, 1)}
    assert len(house.events("result/delivered")) == 2


@contextmanager
def narrow_pacs(limit: int) -> Iterator[tuple[int, list[str], list[int]]]:
    """A PACS that rejects more than ``limit`` associations at once, as transient (2/3/2)."""
    got: list[str] = []
    rejected: list[int] = []
    begun = threading.Event()

    def on_store(event: Any) -> int:
        got.append(str(event.request.AffectedSOPInstanceUID))
        begun.wait(10)
        return 0

    def on_rejected(_event: Any) -> None:
        rejected.append(1)
        begun.set()

    ae = AE("SCRIPTED")
    ae.maximum_associations = limit
    ae.add_supported_context(CTImageStorage)
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_REJECTED, on_rejected)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1], got, rejected
    finally:
        server.shutdown()


def test_a_peer_that_allows_fewer_gets_all_the_same(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 12)
    (result_id,) = house.register(job)
    with narrow_pacs(1) as (port, got, rejected):
        ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "SCRIPTED") | {"associations": 3}])
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED", 30)
    assert sorted(got) == sorted(uids)
    assert rejected
    assert {f.attempts for f in house.files()} == {1}


def test_a_peer_that_rejects_all_at_once_gets_one_more(house: JobPayload, tmp_path: Path) -> None:
    """A PACS may count all that come at the same moment, and reject each."""
    job = house.job()
    uids = house.write(job, 6)
    (result_id,) = house.register(job)
    agent = Busy(3)
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp, 3)
        with delivering(worker(house.database, house.data_dir, ae.live, dicom=agent)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert Counter(uid for uid, _ in scp.received) == Counter(uids)
    assert (scp.associations, agent.left) == (1, 0)
    assert house.events("result/waiting") == []


class Busy(DicomAgent):
    """Whose first associations find no room at the peer."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left
        self._lock = threading.Lock()

    def deliver(self, *arguments: Any) -> bool:
        with self._lock:
            busy = self.left > 0
            self.left -= busy
        if busy:
            raise LinkError("local limit exceeded", busy=True)
        return super().deliver(*arguments)


def test_who_failed_lately_is_tried_with_one(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 8)
    (result_id,) = house.register(job)
    failed = {"failures": 1, "reason": "down", "changed_at": 0}
    with house.database.begin() as connection:
        connection.execute(sa.insert(circuits).values(destination="PACS", state="CLOSED", **failed))
    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
            assert scp.associations == 1
            job = house.job()
            house.write(job, 8)
            (result_id,) = house.register(job)
            wait_until(lambda: state(house, result_id) == "DELIVERED")
            assert scp.associations == 1 + MANY


def test_nobody_there_counts_as_one_failure(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 8)
    (result_id,) = house.register(job)
    port = free_port()
    ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "SCRIPTED") | {"associations": MANY}])
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.result(result_id).retries >= 2)
        with house.database.read() as connection:
            row = connection.execute(sa.select(circuits)).one()
        assert row.failures <= house.result(result_id).retries + 1
        with running_scripted_scp(port=port) as scp:
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert Counter(uid for uid, _ in scp.received) == Counter(uids)


def test_one_that_breaks_leaves_its_files_to_the_others(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 12)
    (result_id,) = house.register(job)
    poison = uids[1]

    def script(uid: str, before: int) -> int | str:
        return "abort" if uid == poison and before < 1 else 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp, 3)
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    counts = Counter(uid for uid, _ in scp.received)
    assert counts == Counter({uid: 2 if uid == poison else 1 for uid in uids})
    # Three, one for what the broken one left, one for the file that may have arrived.
    assert scp.associations == 5
    assert {f.sop_instance_uid: f.attempts for f in house.files()}[poison] == 2
    assert house.events("destination/circuit") == []


def test_a_fault_of_our_own_ends_all_and_doubles_nothing(
    house: JobPayload, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = house.job()
    uids = house.write(job, 40)
    (result_id,) = house.register(job)
    broken = True

    class Broken(DicomAgent):
        def deliver(self, destination: Any, items: Any, *more: Any) -> bool:
            if broken and uids[1] in [i.sop_instance_uid for i in items]:
                raise RuntimeError("SECRET^PATIENT")
            return super().deliver(destination, items, *more)

    with running_scripted_scp() as scp:
        ae = config(tmp_path, scp)
        subject = worker(house.database, house.data_dir, ae.live, dicom=Broken())
        with delivering(subject):
            wait_until(lambda: "internal error (RuntimeError)" in str(house.result(result_id)))
            broken = False
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert Counter(uid for uid, _ in scp.received) == Counter(uids)
    assert "SECRET" not in caplog.text


def test_a_stop_keeps_what_was_answered(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 60)
    (result_id,) = house.register(job)
    subjects: list[DeliveryWorker] = []

    def script(uid: str, _before: int) -> int:
        if uid == uids[20]:
            for each in subjects:
                each.stop()
        return 0

    with running_scripted_scp(script) as scp:
        ae = config(tmp_path, scp)
        subjects.append(worker(house.database, house.data_dir, ae.live))
        with delivering(subjects[0]):
            wait_until(lambda: uids[20] in dict(scp.received))
        assert state(house, result_id) == "PENDING"
        assert positive_on_disk(house) == set(dict(scp.received))
        subjects.clear()
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert Counter(uid for uid, _ in scp.received) == Counter(uids)


@pytest.mark.crash
@pytest.mark.parametrize(
    "fault", ["delivery.answered:6", "delivery.recorded:6", "delivery.unsettled"]
)
def test_killed_at_a_fault_point(house: JobPayload, tmp_path: Path, fault: str) -> None:
    job = house.job()
    uids = house.write(job, 16)
    (result_id,) = house.register(job)
    with counting_pacs() as pacs:
        ae = config(tmp_path, pacs)
        with delivering_process(house, tmp_path / "ae", fault) as process:
            assert process.wait(30) == -signal.SIGKILL
        safe = positive_on_disk(house)
        before = {uid: len(seen) for uid, seen in pacs.seen.items()}
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
        counts = {uid: len(seen) for uid, seen in pacs.seen.items()}
    assert set(counts) == set(uids)
    assert {uid: counts[uid] for uid in safe} == {uid: before[uid] for uid in safe}
    # Only what was on the wires at the moment of death can be there twice, with the same bytes.
    assert sum(counts.values()) <= len(uids) + MANY
    assert all(len(set(seen)) == 1 for seen in pacs.seen.values())


@pytest.mark.crash
def test_killed_again_and_again(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 60)
    (result_id,) = house.register(job)
    kills = 3
    with counting_pacs() as pacs:
        ae = config(tmp_path, pacs)

        def total() -> int:
            return sum(len(seen) for seen in list(pacs.seen.values()))

        def grown(before: int) -> bool:
            return total() >= before + 7

        for _ in range(kills):
            safe, before = positive_on_disk(house), total()
            counts = {uid: len(pacs.seen[uid]) for uid in safe}
            with delivering_process(house, tmp_path / "ae") as process:
                wait_until(partial(grown, before))
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            assert {uid: len(pacs.seen[uid]) for uid in safe} == counts
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: state(house, result_id) == "DELIVERED")
    assert set(pacs.seen) == set(uids)
    assert total() <= len(uids) + kills * MANY
    assert all(len(set(seen)) == 1 for seen in pacs.seen.values())
