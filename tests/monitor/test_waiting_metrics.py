"""Ages, durations and conditions as metrics, from records that tell a known story."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.registry import Collector

from gateway.config.live import LiveAeConfig
from gateway.config.settings import StorageSettings
from gateway.database import schema
from gateway.database.engine import Database
from gateway.jobs.presence import Presence, process_of
from gateway.monitor.condition_metrics import ConditionCollector
from gateway.monitor.health import Condition, Part
from gateway.monitor.waiting_metrics import WaitingCollector
from tests.support import seed

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(collector: Collector) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = seed.new_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def live(tmp_path: Path) -> LiveAeConfig:
    folder = tmp_path / "ae_config"
    folder.mkdir()
    pacs = "{name: PACS, ae-title: ORTHANC, host: 127.0.0.1, port: 4242}"
    (folder / "all.yaml").write_text(f"destinations:\n- {pacs}\n")
    return LiveAeConfig(folder)


def test_nothing_waits_in_an_empty_gateway(database: Database, live: LiveAeConfig) -> None:
    found = samples(WaitingCollector(database, live))
    ages = {key: value for key, value in found.items() if key[0].endswith("_oldest_seconds")}
    assert len(ages) == 2 + 4 + 1
    assert set(ages.values()) == {0.0}
    person = {key[1][0][1]: n for key, n in found.items() if key[0] == "gateway_waiting_for_person"}
    assert person == {"job": 0, "result": 0, "conflict": 0, "quarantine": 0}
    assert not [key for key in found if key[0] == "gateway_delivery_seconds_count"]


def test_what_waits_has_its_age_and_what_ended_its_duration(
    database: Database, live: LiveAeConfig, tmp_path: Path
) -> None:
    told = seed.story(database, tmp_path)
    now = time.time()
    with database.begin() as connection:
        connection.execute(
            sa.update(schema.results).values(
                state="WAITING", deliverable=True, created_at=now - 50, delivered_at=None
            )
        )
    seed.payload(database, opened_at=now - 300, state="RECEIVING")
    seed.payload(database, state="CONFLICT")
    found = samples(WaitingCollector(database, live))
    pacs, lung = (("destination", "PACS"),), (("called", "LUNG_CT"),)
    assert found["gateway_result_oldest_seconds", pacs] == pytest.approx(50, abs=20)
    assert found["gateway_payload_oldest_seconds", (("state", "RECEIVING"),)] == pytest.approx(
        300, abs=20
    )
    assert found["gateway_waiting_for_person", (("what", "conflict"),)] == 1
    assert found["gateway_received_bytes_total", lung] == 3000
    last = found["gateway_last_received_timestamp_seconds", lung]
    assert last == pytest.approx(now, abs=20)
    assert found["gateway_payload_receiving_seconds_sum", lung] == pytest.approx(8)
    higher = (("priority", "higher"),)
    assert found["gateway_job_queue_seconds_sum", higher] == pytest.approx(1)
    ran = (("pipeline", "lung-density"),)
    assert found["gateway_job_run_seconds_sum", ran] == pytest.approx(29)
    assert found["gateway_job_run_seconds_bucket", (("le", "10"), *ran)] == 0
    assert found["gateway_job_run_seconds_bucket", (("le", "30"), *ran)] == 1
    assert told.job not in repr(found)


def test_failures_wait_for_a_person_until_their_files_are_gone(
    database: Database, live: LiveAeConfig, tmp_path: Path
) -> None:
    seed.story(database, tmp_path)
    with database.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(status="FAULTED"))
        connection.execute(sa.update(schema.results).values(state="FAILED"))
    keys = [("gateway_waiting_for_person", (("what", what),)) for what in ("job", "result")]
    found = samples(WaitingCollector(database, live))
    assert [found[key] for key in keys] == [1, 1]
    with database.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(payload_deleted_at=time.time()))
    found = samples(WaitingCollector(database, live))
    assert [found[key] for key in keys] == [0, 0]


def test_jobs_tell_what_they_claim(database: Database, live: LiveAeConfig, tmp_path: Path) -> None:
    seed.story(database, tmp_path)
    with database.begin() as connection:
        connection.execute(
            sa.update(schema.jobs).values(
                state="PENDING", status="HEALTHY", gpus=2, queued_at=time.time() - 70
            )
        )
    found = samples(WaitingCollector(database, live))
    pending = (("state", "PENDING"),)
    assert found["gateway_job_gpus", pending] == 2
    assert found["gateway_job_memory_bytes", pending] == 512e6
    assert found["gateway_job_gpus", (("state", "RUNNING"),)] == 0
    oldest = found["gateway_job_oldest_seconds", (("priority", "higher"),)]
    assert oldest == pytest.approx(70, abs=20)


def test_conditions_of_parts_are_figures(database: Database) -> None:
    def broken() -> Part:
        raise RuntimeError("what broke")

    checks = {
        "good": lambda: Part(Condition.OK),
        "tired": lambda: Part(Condition.DEGRADED, {"error": seed.PATIENT_ID}),
        "broken": broken,
    }
    storage = StorageSettings(watermark_percent=85, reserve_gb=5)
    found = samples(ConditionCollector(database, storage, checks, lambda: 7))
    parts = {key[1][0][1]: n for key, n in found.items() if key[0] == "gateway_part_condition"}
    assert parts == {"good": 0, "tired": 1, "broken": 2}
    assert found["gateway_intake_waiting", ()] == 7
    assert found["gateway_storage_watermark_ratio", ()] == 0.85
    assert found["gateway_storage_reserve_bytes", ()] == 5e9
    assert seed.PATIENT_ID not in repr(found)
    alone = samples(ConditionCollector(database, storage, checks))
    assert ("gateway_intake_waiting", ()) not in alone


def test_a_scheduler_counts_while_it_is_alive(database: Database) -> None:
    def count() -> float:
        return samples(ConditionCollector(database, StorageSettings(), {}))[
            "gateway_schedulers", ()
        ]

    assert count() == 0
    one = Presence(database)
    one.join()
    assert count() == 1
    one.leave()
    assert count() == 0
    # One that was killed left its record: of a process of this machine that is no more.
    kernel, pid, start = process_of(os.getpid()).rsplit(" ", 2)
    seed.insert(
        database, schema.schedulers, node="here", process=f"{kernel} {pid} {int(start) + 1}",
        lease_until=time.time() - 60, started_at=time.time(),
    )  # fmt: skip
    assert count() == 0
