"""Payloads of jobs made by hand go by age and for want of room; reusable ones are their owner's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.config.settings import RetentionSettings, StorageSettings
from gateway.database import schema
from gateway.errors import Refused
from gateway.jobs.rerun import rerun
from gateway.payloads import handmade
from gateway.payloads.folders import Folders
from gateway.payloads.retention import Retention
from gateway.payloads.space import Space
from gateway.platform import records
from tests.support import seed
from tests.support.jobs_world import World, writing

HOUR = 3600.0
ENDED = 1e9
HOURS = RetentionSettings(delivered_hours=2, failed_hours=5)


class Made:
    """Jobs made by hand that ended at ``ENDED``, with folders, and who sweeps them."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.world.pipeline("p", writing())
        self.folders = Folders(root)
        self.folders.create()

    def job(self, **values: Any) -> str:
        job = self.world.create("p")
        ended = {"state": "STOPPED", "status": "HEALTHY", "stopped_at": ENDED, "attempt": 1}
        with self.world.database.begin() as connection:
            change = sa.update(schema.jobs).where(schema.jobs.c.id == job)
            connection.execute(change.values(ended | values))
        for folder in (self.payload(job) / "input", self.logs(job)):
            folder.mkdir(parents=True)
            (folder / "file").write_text("bytes")
        return job

    def result(self, job: str, **values: Any) -> None:
        given = {
            "correlation_id": "c" * 32, "job_id": job, "attempt": 1, "agent": "ClaraSCU",
            "destination": "PACS", "parameters": "null", "deliverable": True,
            "state": "DELIVERED", "created_at": ENDED, "delivered_at": ENDED + HOUR,
        }  # fmt: skip
        seed.insert(self.world.database, schema.results, **(given | values))

    def payload(self, job: str) -> Path:
        return self.folders.payloads / self.world.job(job).payload_id

    def logs(self, job: str) -> Path:
        return self.folders.logs / job

    def kept(self, job: str) -> bool:
        there = self.payload(job).exists(), self.logs(job).exists()
        assert len(set(there)) == 1, "files and logs go together"
        return there[0]

    def retention(self, *, full: bool = False) -> Retention:
        reserve = 1e9 if full else 0
        space = Space(self.folders.root, StorageSettings(watermark_percent=100, reserve_gb=reserve))
        return Retention(self.world.database, self.folders, HOURS, space)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    made = Made(tmp_path)
    yield made
    made.world.close()


def test_a_finished_job_loses_its_files_after_its_hours_and_stays_on_record(made: Made) -> None:
    good, bad = made.job(), made.job(status="FAULTED", reason="it broke")
    sweeper = made.retention()
    assert sweeper.sweep(ENDED + 2 * HOUR - 1) == []
    payload = made.world.job(good).payload_id
    assert sweeper.sweep(ENDED + 2 * HOUR) == [payload]
    assert (made.kept(good), made.kept(bad)) == (False, True)
    assert sweeper.sweep(ENDED + 5 * HOUR - 1) == []
    assert sweeper.sweep(ENDED + 5 * HOUR) == [made.world.job(bad).payload_id]
    assert not made.kept(bad)
    assert (made.world.place(bad), made.world.job(bad).reason) == ("STOPPED/FAULTED", "it broke")
    assert made.world.events(good)[-1] == "payload/deleted"
    with made.world.database.read() as connection:
        told = connection.execute(
            sa.select(schema.events.c.data).where(
                schema.events.c.job_id == good, schema.events.c.kind == "payload/deleted"
            )
        ).scalar_one()
    assert told == {"state": "DELETED", "reason": "retention: delivered-hours (2 h)"}
    with pytest.raises(Refused, match="were deleted"):
        made.world.act(rerun, good)


@pytest.mark.parametrize(
    ("state", "more"),
    [
        ("PENDING", {}), ("SENDING", {}), ("WAITING", {}),
        ("DELIVERED", {"commitment": "DUE"}), ("DELIVERED", {"commitment": "ASKED"}),
    ],
)  # fmt: skip
def test_an_open_result_keeps_the_files(made: Made, state: str, more: dict[str, Any]) -> None:
    job = made.job()
    made.result(job, state=state, **more)
    assert made.retention().sweep(4e9) == []
    assert made.retention(full=True).sweep(4e9) == []
    assert made.kept(job)


@pytest.mark.parametrize(
    "values",
    [
        {"state": "PENDING", "stopped_at": None, "queued_at": None},
        {"state": "PENDING", "stopped_at": None},
        {"state": "RUNNING", "stopped_at": None},
    ],
)
def test_an_open_job_keeps_its_files_even_above_the_watermark(
    made: Made, values: dict[str, Any]
) -> None:
    job = made.job(**values)
    assert made.retention(full=True).sweep(4e9) == []
    assert made.kept(job)


def test_hours_count_from_the_last_delivery_and_by_how_it_went(made: Made) -> None:
    delivered, failed, withdrawn = made.job(), made.job(), made.job()
    made.result(delivered)
    made.result(failed, state="FAILED", delivered_at=None)
    made.result(withdrawn, state="PENDING", deliverable=False)
    sweeper = made.retention()
    assert sweeper.sweep(ENDED + 3 * HOUR - 1) == [made.world.job(withdrawn).payload_id]
    assert sweeper.sweep(ENDED + 3 * HOUR) == [made.world.job(delivered).payload_id]
    assert sweeper.sweep(ENDED + 5 * HOUR) == [made.world.job(failed).payload_id]


def test_above_the_watermark_finished_jobs_go_the_oldest_first(made: Made) -> None:
    later, first = made.job(stopped_at=ENDED + 1), made.job()
    reusable = made.folders.payloads / ("a" * 32)
    reusable.mkdir()
    with made.world.database.begin() as connection:
        connection.execute(
            sa.insert(schema.reusable_payloads).values(id="a" * 32, metadata={}, created_at=1.0)
        )
    expected = [made.world.job(job).payload_id for job in (first, later)]
    assert made.retention(full=True).sweep(ENDED + 2) == expected
    assert made.retention(full=True).tidy(4e9) == 0
    assert reusable.exists(), "a reusable payload is its owner's until he deletes it"


def test_what_a_kill_or_a_person_left_is_tidied_away(made: Made) -> None:
    killed, deleted, kept = made.job(), made.job(), made.job()
    unknown = made.folders.payloads / ("f" * 32)
    unknown.mkdir()
    with made.world.database.begin() as connection:
        handmade.mark_deleted(connection, killed, "retention")
        records.mark_deleted(connection, made.world.job(deleted).payload_id)
    assert made.retention().tidy(ENDED + 5 * HOUR - 1) == 2
    assert not made.payload(killed).exists()
    assert not made.payload(deleted).exists()
    assert made.logs(deleted).exists(), "a person who deletes files may still read the log"
    assert made.retention().tidy(ENDED + 5 * HOUR) == 2
    assert not made.logs(deleted).exists()
    assert made.kept(kept)
    assert unknown.exists()
    assert {path.name[0] for path in made.folders.payloads.iterdir()}.isdisjoint(".")


def test_a_payload_goes_once(made: Made) -> None:
    job = made.job()
    with made.world.database.begin() as connection:
        handmade.mark_deleted(connection, job, "retention")
    with made.world.database.begin() as connection, pytest.raises(Refused, match="any more"):
        handmade.mark_deleted(connection, job, "retention")


def test_a_rerun_of_a_received_job_takes_its_folder_back(made: Made) -> None:
    payload = made.world.received()
    job = made.world.create("p", payload)
    with made.world.scheduling():
        assert made.world.settle(job) == ["STOPPED/HEALTHY"]
        with made.world.database.begin() as connection:
            connection.execute(sa.update(schema.results).values(state="DELIVERED"))
            records.mark_deleted(connection, made.world.job(job).payload_id)
        assert made.retention().tidy(time.time()) == 1
        made.world.act(rerun, job)
        assert made.world.settle(job) == ["STOPPED/HEALTHY"]
    assert made.retention().tidy(time.time()) == 0
    with made.world.database.read() as connection:
        assert made.world.job(job).payload_id not in records.deleted(connection)
    assert (made.payload(job) / "operators" / "write" / "out.txt").exists()
