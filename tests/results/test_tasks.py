from __future__ import annotations

import json
import time
import uuid

import pytest
import sqlalchemy as sa

from gateway.database.schema import circuits, jobs, result_files, results
from gateway.errors import Refused
from gateway.results import tasks
from gateway.results.backoff import Backoff
from tests.support.job_payload import JobPayload


def task(house: JobPayload, agent: str = "DICOMweb") -> str:
    job = house.job()
    house.write(job, 2)
    (result_id,) = house.register(job, agent=agent)
    return result_id


def set_row(house: JobPayload, result_id: str, **values: object) -> None:
    with house.database.begin() as connection:
        connection.execute(sa.update(results).where(results.c.id == result_id).values(**values))


def test_a_task_is_what_claras_adapter_reads(house: JobPayload) -> None:
    result_id = task(house)
    with house.database.begin() as connection:
        (found,) = tasks.pending(connection, "dicomweb", 10)
    row = house.result(result_id)
    assert found == {
        "taskId": str(uuid.UUID(result_id)),
        "jobId": row.job_id,
        "pipelineId": found["pipelineId"],
        "payloadId": row.job_id,
        "agent": "DICOMweb",
        "parameters": json.dumps("PACS"),
        "state": "Pending",
        "retries": 0,
        "uris": ["operators/writer/seg/0001.dcm", "operators/writer/seg/0002.dcm"],
    }
    assert len(found["pipelineId"]) == 32


def test_a_lease_keeps_a_task_from_the_next_poller(house: JobPayload) -> None:
    ids = sorted(task(house) for _ in range(3))
    with house.database.begin() as connection:
        first = tasks.pending(connection, "DICOMWEB", 2)
        second = tasks.pending(connection, "dicomweb", 2)
        assert tasks.pending(connection, "dicomweb", 2) == []
    taken = [uuid.UUID(t["taskId"]).hex for t in first + second]
    assert (len(first), len(second), sorted(taken)) == (2, 1, ids)
    lease = house.result(taken[0]).lease_until - time.time()
    assert tasks.LEASE_SECONDS - 5 < lease <= tasks.LEASE_SECONDS
    assert tasks.LEASE_SECONDS == 300
    set_row(house, taken[0], lease_until=time.time() - 1)
    with house.database.begin() as connection:
        (again,) = tasks.pending(connection, "dicomweb", 2)
    assert uuid.UUID(again["taskId"]).hex == taken[0]


def test_our_own_tasks_are_not_handed_out(house: JobPayload) -> None:
    result_id = task(house, "ClaraSCU")
    with house.database.begin() as connection:
        assert tasks.pending(connection, "clarascu", 10) == []
        with pytest.raises(Refused, match="itself"):
            tasks.succeed(connection, result_id)


def test_what_is_not_deliverable_is_no_task(house: JobPayload) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job, agent="DICOMweb", release=False)
    with house.database.begin() as connection:
        assert tasks.pending(connection, "DICOMweb", 10) == []
        with pytest.raises(Refused):
            tasks.succeed(connection, result_id)


def test_success_by_guid_counts_once(house: JobPayload) -> None:
    result_id = task(house)
    for _ in range(2):
        with house.database.begin() as connection:
            tasks.succeed(connection, str(uuid.UUID(result_id)))
    row = house.result(result_id)
    assert (row.state, row.lease_until) == ("DELIVERED", None)
    assert {f.state for f in house.files(result_id)} == {"SENT"}
    assert len(house.events("result/delivered")) == 1


def test_failure_with_and_without_a_later_try(house: JobPayload) -> None:
    result_id = task(house)
    with house.database.begin() as connection:
        tasks.pending(connection, "DICOMweb", 1)
        tasks.fail(connection, result_id, retry_later=True)
    row = house.result(result_id)
    assert (row.state, row.retries, row.lease_until) == ("WAITING", 1, None)
    assert row.next_at <= time.time() + 2
    set_row(house, result_id, next_at=time.time() - 1)
    with house.database.begin() as connection:
        (again,) = tasks.pending(connection, "DICOMweb", 1)
        assert (again["retries"], again["state"]) == (1, "Pending")
        tasks.fail(connection, result_id, retry_later=False)
    assert (house.result(result_id).state, house.result(result_id).retries) == ("FAILED", 2)
    with house.database.begin() as connection, pytest.raises(Refused):
        tasks.succeed(connection, result_id)


@pytest.mark.parametrize("name", ["x", "0" * 32, "1b4e28ba-2fa1-41d2-883f-0016d3cca427", ""])
def test_unknown_tasks_are_refused(house: JobPayload, name: str) -> None:
    with house.database.begin() as connection:
        for act in (tasks.succeed, tasks.retry):
            with pytest.raises(Refused, match="There is no"):
                act(connection, name)


def test_a_person_retries(house: JobPayload) -> None:
    result_id = task(house, "ClaraSCU")
    with house.database.begin() as connection, pytest.raises(Refused, match="PENDING"):
        tasks.retry(connection, result_id)
    set_row(house, result_id, state="FAILED", reason="x", retries=7)
    first, second = house.files(result_id)
    with house.database.begin() as connection:
        for file, state in ((first, "SENT"), (second, "FAILED")):
            connection.execute(
                sa.update(result_files)
                .where(result_files.c.id == file.id)
                .values(state=state, attempts=3)
            )
        connection.execute(
            sa.insert(circuits).values(
                destination="Pacs", state="OPEN", failures=3, changed_at=0, retry_at=9e12
            )
        )
        tasks.retry(connection, result_id)
    row = house.result(result_id)
    assert (row.state, row.reason, row.retries, row.next_at) == ("PENDING", None, 0, None)
    assert [(f.state, f.attempts) for f in house.files(result_id)] == [("SENT", 3), ("PENDING", 0)]
    with house.database.read() as connection:
        assert connection.execute(sa.select(circuits.c.retry_at)).scalar_one() <= time.time()
    assert len(house.events("result/retried")) == 1


def test_backoff_doubles_up_to_its_cap() -> None:
    backoff = Backoff(base_seconds=2, cap_seconds=300)
    assert [backoff.longest(n) for n in (0, 1, 2, 3, 8, 9, 10**6)] == [2, 2, 4, 8, 256, 300, 300]
    waits = [backoff.wait(3) for _ in range(200)]
    assert min(waits) < 2 < 6 < max(waits) <= 8


def test_a_result_whose_files_a_later_attempt_wrote_over_is_not_sent(house: JobPayload) -> None:
    result_id = task(house, "ClaraSCU")
    set_row(house, result_id, state="FAILED")
    row = house.result(result_id)
    with house.database.begin() as connection:
        connection.execute(
            sa.update(jobs).where(jobs.c.id == row.job_id).values(attempt=row.attempt + 1)
        )
        with pytest.raises(Refused, match="has written over its files"):
            tasks.retry(connection, result_id)
    assert house.result(result_id).state == "FAILED"
