"""Storage commitment as SCU: asked after delivery, reported whenever, whatever happens between."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.config.live import LiveAeConfig
from gateway.config.settings import RetentionSettings, StorageSettings
from gateway.database.schema import commitments, results
from gateway.payloads.folders import Folders
from gateway.payloads.retention import Retention
from gateway.payloads.space import Space
from gateway.results import registry, tasks
from tests.support import seed
from tests.support.committing import QUICK, committing_pacs, our_side, report, send_report
from tests.support.deliveries import AeFolder, wait_until
from tests.support.job_payload import JobPayload


def live(tmp_path: Path, *destinations: dict[str, Any]) -> LiveAeConfig:
    return AeFolder(tmp_path / "ae", list(destinations)).live


def one_result(house: JobPayload, count: int = 3) -> tuple[str, str, list[str]]:
    job = house.job()
    uids = house.write(job, count)
    (result_id,) = house.register(job)
    return job, result_id, uids


def states(house: JobPayload, result_id: str) -> tuple[str, str | None]:
    row = house.result(result_id)
    return row.state, row.commitment


def transactions(house: JobPayload) -> list[Any]:
    query = sa.select(commitments).order_by(commitments.c.created_at)
    with house.database.read() as connection:
        return list(connection.execute(query))


def test_reported_on_the_same_association(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, uids = one_result(house)
    with committing_pacs(at_once=True) as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(
            house.database, house.data_dir, config, replace(QUICK, same_association_seconds=5)
        ):
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
            wait_until(lambda: pacs.reports == [0])
    assert pacs.stored == uids
    (asked,) = pacs.asked
    assert asked.instances == tuple(uids)
    assert [t.transaction_uid for t in transactions(house)] == [asked.transaction_uid]
    assert all(f.committed_at and f.state == "SENT" for f in house.files(result_id))
    told = [e.kind for e in house.events()][-3:]
    assert told == ["result/delivered", "commitment/asked", "result/committed"]
    assert list((house.data_dir / "commitments").glob("*.json")) == []


def test_reported_later_over_another_association_and_twice(
    house: JobPayload, tmp_path: Path
) -> None:
    job, result_id, uids = one_result(house)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(house.database, house.data_dir, config):
            wait_until(lambda: states(house, result_id) == ("DELIVERED", "ASKED"))
            with house.database.read() as connection:
                assert registry.open_results(connection, job)
        # Nothing of ours runs; the report comes to the next process.
        with our_side(house.database, house.data_dir, config) as ours:
            (asked,) = pacs.asked
            good = report(asked.transaction_uid, uids)
            assert send_report(ours.port, report("1.2.3.4", uids)) == 0x0115
            assert send_report(ours.port, good, event_type=3) == 0x0113
            assert states(house, result_id) == ("DELIVERED", "ASKED")
            assert send_report(ours.port, good) == 0
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
            assert send_report(ours.port, good) == 0
            late = report(asked.transaction_uid, [], [(uid, 0x0112) for uid in uids])
            assert send_report(ours.port, late) == 0
            wait_until(lambda: not list((house.data_dir / "commitments").glob("*.json")))
        assert states(house, result_id) == ("COMMITTED", "COMMITTED")
        with house.database.read() as connection:
            assert not registry.open_results(connection, job)
    assert len(pacs.asked) == 1
    assert len(house.events("result/committed")) == 1


def test_what_the_pacs_has_not_is_sent_again(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, uids = one_result(house)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(house.database, house.data_dir, config) as ours:
            wait_until(lambda: states(house, result_id)[1] == "ASKED")
            first = pacs.asked[0].transaction_uid
            half = report(first, [uids[0]], [(uids[1], 0x0112), (uids[2], 0x0110)])
            assert send_report(ours.port, half) == 0
            wait_until(lambda: len(pacs.asked) == 2)
            # Only the missing one was sent again, only the uncommitted ones are asked for.
            assert pacs.stored == [*uids, uids[1]]
            assert pacs.asked[1].instances == tuple(uids[1:])
            assert pacs.asked[1].transaction_uid != first
            # A report of the first transaction that comes late still counts.
            wait_until(lambda: states(house, result_id)[1] == "ASKED")
            assert send_report(ours.port, report(first, uids)) == 0
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
    assert "no such object instance (0112H)" in house.events("result/waiting")[-1].data["reason"]


def test_missing_again_and_again_is_a_failure(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, uids = one_result(house, 1)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        policy = replace(QUICK, resends=1)
        with our_side(house.database, house.data_dir, config, policy) as ours:
            for number in range(2):
                wait_until(lambda n=number: len(pacs.asked) == n + 1)
                wait_until(lambda: states(house, result_id)[1] == "ASKED")
                missing = report(pacs.asked[number].transaction_uid, [], [(uids[0], 0x0112)])
                assert send_report(ours.port, missing) == 0
            wait_until(lambda: states(house, result_id) == ("FAILED", "FAILED"))
            assert "sent 2 times" in house.result(result_id).reason
            assert pacs.stored == uids * 2
            # A person's retry sends and asks again.
            with house.database.begin() as connection:
                tasks.retry(connection, result_id)
            wait_until(lambda: len(pacs.asked) == 3)
            assert pacs.stored == uids * 3
            wait_until(lambda: states(house, result_id)[1] == "ASKED")
            assert send_report(ours.port, report(pacs.asked[2].transaction_uid, uids)) == 0
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))


def test_a_conflict_of_classes_is_for_a_person(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, uids = one_result(house, 2)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(house.database, house.data_dir, config) as ours:
            wait_until(lambda: states(house, result_id)[1] == "ASKED")
            bad = report(pacs.asked[0].transaction_uid, [uids[0]], [(uids[1], 0x0119)])
            assert send_report(ours.port, bad) == 0
            wait_until(lambda: states(house, result_id) == ("FAILED", "FAILED"))
    assert "class-instance conflict (0119H)" in house.result(result_id).reason
    assert [f.commitment_failure for f in house.files(result_id)] == [None, 0x0119]
    assert [f.state for f in house.files(result_id)] == ["SENT", "FAILED"]


def test_silence_is_asked_again_and_ends(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, uids = one_result(house, 1)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        policy = replace(QUICK, report_seconds=0.1, report_cap_seconds=0.2, tries=3)
        with our_side(house.database, house.data_dir, config, policy) as ours:
            wait_until(lambda: states(house, result_id) == ("FAILED", "FAILED"))
            assert house.result(result_id).reason == (
                "not committed after 3 requests: no report came"
            )
            assert len({asked.transaction_uid for asked in pacs.asked}) == 3
            # Better late than never.
            assert send_report(ours.port, report(pacs.asked[0].transaction_uid, uids)) == 0
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
    waits = [e.data["reason"] for e in house.events("commitment/waiting")]
    assert waits[0] == "no report came of request 1, asked again"


def test_a_refused_request_is_made_again(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, _ = one_result(house, 1)
    with committing_pacs(status=lambda n: 0x0110 if n < 2 else 0, at_once=True) as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(house.database, house.data_dir, config):
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
    assert len(pacs.asked) == 3
    assert "N-ACTION with status 0110H" in house.events("commitment/waiting")[0].data["reason"]


def test_a_pacs_that_is_away_is_asked_when_it_is_back(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, _ = one_result(house, 1)
    with committing_pacs() as pacs:
        config = live(tmp_path, pacs.destination())
        with our_side(house.database, house.data_dir, config, replace(QUICK, poll_seconds=0.05)):
            wait_until(lambda: states(house, result_id)[1] == "ASKED")
    with house.database.begin() as connection:
        connection.execute(sa.text("UPDATE results SET commitment_at = 0"))
    with our_side(house.database, house.data_dir, config):
        wait_until(
            lambda: "takes no connection" in (house.result(result_id).commitment_reason or "")
        )
        pacs.at_once = True
        pacs.start()
        try:
            wait_until(lambda: states(house, result_id) == ("COMMITTED", "COMMITTED"))
        finally:
            pacs.stop()


def test_only_destinations_that_are_to_commit_are_asked(house: JobPayload, tmp_path: Path) -> None:
    _, result_id, _ = one_result(house, 1)
    with committing_pacs() as pacs:
        ae = AeFolder(tmp_path / "ae", [pacs.destination(commitment=False)])
        with our_side(house.database, house.data_dir, ae.live):
            wait_until(lambda: states(house, result_id) == ("DELIVERED", None))
            ae.change([pacs.destination()])
            _, owed, _ = one_result(house, 1)
            wait_until(lambda: states(house, owed)[1] == "ASKED")
            # What is owed and not due yet is let go at its time when nobody asks any more.
            ae.change([pacs.destination(commitment=False)])
            with house.database.begin() as connection:
                connection.execute(sa.text("UPDATE results SET commitment_at = 0"))
            wait_until(lambda: states(house, owed) == ("DELIVERED", None))
    assert len(pacs.asked) == 1


@pytest.mark.parametrize("commitment", ["DUE", "ASKED"])
def test_the_payload_is_kept_until_it_is_committed(tmp_path: Path, commitment: str) -> None:
    database = seed.new_database(tmp_path)
    told = seed.story(database, tmp_path)
    folders, settings = Folders(tmp_path), RetentionSettings(delivered_hours=0)
    space = Space(tmp_path, StorageSettings(watermark_percent=100, reserve_gb=0))
    retention = Retention(database, folders, settings, space)

    def now_it_is(state: str, how_far: str) -> None:
        with database.begin() as connection:
            values = {"state": state, "commitment": how_far, "committed_at": time.time()}
            connection.execute(sa.update(results).values(values))

    now_it_is("DELIVERED", commitment)
    assert retention.sweep(time.time() + 1e9) == []
    with database.read() as connection:
        assert registry.open_results(connection, told.job)
    now_it_is("COMMITTED", "COMMITTED")
    assert retention.sweep(time.time() - 100) == []
    assert retention.sweep(time.time() + 1) == [told.payload]
    database.close()
