from __future__ import annotations

import json

import pytest

from gateway.results import registry
from gateway.results.registry import NoDestination
from tests.support.job_payload import JobPayload


def test_one_result_per_destination(house: JobPayload) -> None:
    job = house.job()
    uids = house.write(job, 2)
    house.register(job, ["PACS", "archive", "pacs"])
    found = house.results(job)
    assert [row.destination for row in found] == ["PACS", "archive"]
    assert [json.loads(row.parameters) for row in found] == ["PACS", "archive"]
    for row in found:
        assert (row.state, row.deliverable, row.agent) == ("PENDING", True, "ClaraSCU")
        assert [file.sop_instance_uid for file in house.files(row.id)] == uids
        assert {file.state for file in house.files(row.id)} == {"PENDING"}


def test_without_data_the_rules_destinations_count(house: JobPayload) -> None:
    job = house.job()
    house.write(job, 1)
    house.register(job, None, defaults=["ARCHIVE"])
    assert [row.destination for row in house.results(job)] == ["ARCHIVE"]


@pytest.mark.parametrize(
    ("parameters", "defaults", "words"),
    [
        (None, [], "have no destination"),
        (["NOWHERE"], ["PACS"], "named 'NOWHERE'"),
        (None, ["NOWHERE"], "named 'NOWHERE'"),
        ([1], ["PACS"], "is a name"),
        (["PACS", "NOWHERE"], [], "named 'NOWHERE'"),
    ],
)
def test_no_destination(
    house: JobPayload, parameters: list[object] | None, defaults: list[str], words: str
) -> None:
    job = house.job()
    house.write(job, 1)
    with pytest.raises(NoDestination, match=words):
        house.register(job, parameters, defaults=defaults)
    assert house.results(job) == []


@pytest.mark.parametrize(
    ("agent", "parameters", "expected"),
    [
        ("DICOMweb", ["THEIRS"], ["THEIRS"]),
        ("DICOMweb", None, ["PACS"]),
        ("renderserver", None, [None]),
        ("renderserver", [{"a": 1}, {"A": 1}], [{"a": 1}, {"A": 1}]),
    ],
)
def test_other_agents(
    house: JobPayload, agent: str, parameters: list[object] | None, expected: list[object]
) -> None:
    job = house.job()
    house.write(job, 1)
    house.register(job, parameters, agent, defaults=["PACS"])
    found = [json.loads(row.parameters) for row in house.results(job)]
    assert len(found) == len(expected)
    assert all(value in expected for value in found)


def test_the_same_file_is_registered_once_per_destination(house: JobPayload) -> None:
    job = house.job()
    house.write(job, 2)
    house.register(job, release=False)
    house.write(job, 1, first=3)
    house.register(job, ["pacs", "ARCHIVE"])
    per_result = {row.id: row.destination for row in house.results(job)}
    paths = [(per_result[f.result_id].lower(), f.path[-8:]) for f in house.files()]
    assert sorted(paths) == sorted(
        (name, f"000{n}.dcm") for name in ("pacs", "archive") for n in (1, 2, 3)
    )


def test_a_rerun_discards_what_earlier_attempts_registered(house: JobPayload) -> None:
    job, other = house.job(), house.job()
    for each in (job, other):
        house.write(each, 1)
        house.register(each, release=False)
    house.register(job, attempt=2, release=False)
    assert [row.attempt for row in house.results(job)] == [2]
    assert [row.attempt for row in house.results(other)] == [1]
    with house.database.begin() as connection:
        assert registry.discard(connection, job, 3) == 1
    assert house.results(job) == []
    assert len(house.files()) == 1


def test_nothing_is_deliverable_before_release(house: JobPayload) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job, release=False)
    with house.database.begin() as connection:
        assert not registry.open_results(connection, job)
        assert registry.release(connection, job, 2) == 0
    assert house.results(job) == []
    (result_id,) = house.register(job, attempt=3, release=False)
    with house.database.begin() as connection:
        assert registry.release(connection, job, 3) == 1
        assert registry.open_results(connection, job)
        assert registry.release(connection, job, 3) == 0
    (event,) = house.events("result/registered")
    assert (event.result_id, event.job_id) == (result_id, job)
    assert event.data["destination"] == "PACS"
    # Released results belong to the PACS: no later discard takes them.
    with house.database.begin() as connection:
        assert registry.discard(connection, job, 9) == 0
