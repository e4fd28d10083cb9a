"""The same records on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.results import registry, tasks
from tests.support.committing import committing_pacs, our_side, report, send_report
from tests.support.deliveries import AeFolder, delivering, peer, wait_until, worker
from tests.support.job_payload import JobPayload
from tests.support.postgres import fresh_database
from tests.support.programs import free_port
from tests.support.reporting import Modality, ask, index
from tests.support.scripted_scp import running_scripted_scp

pytestmark = pytest.mark.peers


@pytest.fixture
def shared_house(postgres_server: str, tmp_path: Path) -> Iterator[JobPayload]:
    url = fresh_database(postgres_server, f"delivery{free_port()}")
    payload = JobPayload(tmp_path / "data", url=url)
    yield payload
    payload.close()


def test_a_result_fails_is_retried_and_arrives(shared_house: JobPayload, tmp_path: Path) -> None:
    house = shared_house
    job = house.job()
    uids = house.write(job, 3)
    house.register(job, release=False)
    (result_id,) = house.register(job, ["pacs"], attempt=2)
    port = free_port()
    ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "SCRIPTED")])
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.events("destination/circuit"))
        with running_scripted_scp(lambda u, n: 0xA700 if u == uids[2] and not n else 0, port=port):
            wait_until(lambda: house.result(result_id).state == "DELIVERED")
    assert {f.state for f in house.files()} == {"SENT"}
    with house.database.read() as connection:
        assert not registry.open_results(connection, job)


def test_tasks(shared_house: JobPayload) -> None:
    house = shared_house
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job, agent="DICOMweb")
    with house.database.begin() as connection:
        assert len(tasks.pending(connection, "dicomweb", 5)) == 1
        assert tasks.pending(connection, "dicomweb", 5) == []
        tasks.fail(connection, result_id, retry_later=False)
        tasks.retry(connection, result_id)
        assert len(tasks.pending(connection, "dicomweb", 5)) == 1
        tasks.succeed(connection, result_id)
    assert house.result(result_id).state == "DELIVERED"


def test_commitment_both_ways(shared_house: JobPayload, tmp_path: Path) -> None:
    house, modality = shared_house, Modality()
    job = house.job()
    uids = house.write(job, 2)
    (result_id,) = house.register(job)
    with committing_pacs() as pacs, modality.listening():
        source = {"ae-title": "CT1", "hosts": ["127.0.0.1"], "port": modality.port}
        ae = AeFolder(tmp_path / "ae", [pacs.destination()])
        settings = {"applications": [{"ae-title": "AI"}], "sources": [source]}
        (tmp_path / "ae" / "more.yaml").write_text(yaml.safe_dump(settings))
        assert ae.live.reload()
        with our_side(house.database, house.data_dir, ae.live) as ours:
            wait_until(lambda: house.result(result_id).commitment == "ASKED")
            transaction = pacs.asked[0].transaction_uid
            half = report(transaction, uids[:1], [(uids[1], 0x0112)])
            assert send_report(ours.port, half) == 0
            wait_until(lambda: len(pacs.asked) == 2)
            assert send_report(ours.port, report(pacs.asked[1].transaction_uid, uids[1:])) == 0
            wait_until(lambda: house.result(result_id).state == "COMMITTED")
            with modality.associated(ours.port) as assoc:
                ask(assoc, [("1.2.840.10008.5.1.4.1.1.2", index(house))])
            wait_until(lambda: len(modality.reports) == 1)
    assert modality.reports[0][0] == 1
