"""A database that tells one study's whole story, for rooms that only read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.database import schema
from gateway.database.engine import Database
from gateway.events.record import Kind, record
from tests.support.databases import database_url

STUDY = "1.2.826.0.1.3680043.8.498.1"
SERIES = "1.2.826.0.1.3680043.8.498.1.1"
# Spelled so that a search for any of them in logs, events and metrics cannot hit by chance.
PATIENT_ID = "QQPATIENTIDQQ"
PATIENT_NAME = "QQNAMEQQ^QQFIRSTQQ"
ACCESSION = "QQACCESSIONQQ"
DESCRIPTION = "QQDESCRIPTIONQQ"
SECRETS = ("QQPATIENTIDQQ", "QQNAMEQQ", "QQFIRSTQQ", "QQACCESSIONQQ", "QQDESCRIPTIONQQ")


@dataclass(frozen=True)
class Story:
    """The identifiers of what was seeded."""

    association: str
    payload: str
    pipeline: str
    job: str
    result: str
    started: float


def new_database(folder: Path) -> Database:
    database = Database(database_url(folder))
    database.create()
    return database


def insert(database: Database, table: sa.Table, **values: Any) -> str:
    """Insert one row with filled-in id; returns the id."""
    if "id" in table.c and isinstance(table.c.id.type, sa.String):
        values.setdefault("id", schema.new_id())
    with database.begin() as connection:
        key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return str(values.get("id", key[0]))


def association(database: Database, **values: Any) -> str:
    given = {
        "called_ae": "LUNG_CT",
        "calling_ae": "CT1",
        "host": "10.1.0.4",
        "port": 40000,
        "state": "RELEASED",
        "opened_at": time.time(),
    }
    return insert(database, schema.associations, **(given | values))


def payload(database: Database, **values: Any) -> str:
    now = time.time()
    given = {
        "correlation_id": schema.new_id(),
        "called_ae": "LUNG_CT",
        "calling_ae": "CT1",
        "host": "10.1.0.4",
        "group_by": "study",
        "group_key": schema.new_id(),
        "state": "RECEIVING",
        "study_instance_uid": STUDY,
        "patient_id": PATIENT_ID,
        "accession_number": ACCESSION,
        "opened_at": now,
        "last_received_at": now,
    }
    return insert(database, schema.payloads, **(given | values))


def story(database: Database, data_dir: Path) -> Story:
    """One CT study, received, routed, run, one result delivered."""
    start = time.time() - 100
    sender = association(
        database, opened_at=start, closed_at=start + 4, instances=30, bytes=3000, ignored=2
    )
    received = payload(
        database, state="ROUTED", correlation_id=sender, group_key=PATIENT_ID, instances=30,
        bytes=3000, opened_at=start + 1, last_received_at=start + 4, completed_at=start + 9,
        routed_at=start + 10,
    )  # fmt: skip
    _instances(database, sender, received, start)
    link = {"payload_id": received, "association_id": sender, "revision": 1}
    insert(database, schema.payload_associations, **link)
    insert(
        database, schema.payload_revisions, payload_id=received, revision=1, instances=30,
        opened_at=start + 1, completed_at=start + 9, reason="quiet",
    )  # fmt: skip
    pipeline = insert(
        database, schema.pipelines, name="lung-density", version=1, digest="0" * 64,
        definition="name: lung-density\n", file="lung-density.yaml", metadata={},
        created_at=start - 10,
    )  # fmt: skip
    job = _job(database, data_dir, sender, received, pipeline, start)
    insert(
        database, schema.decisions, payload_id=received, revision=1, rule="lung density",
        config_version="0" * 64, outcome="MATCHED", expressions={"when": "true"},
        values={"PatientName": PATIENT_NAME, "slope": 2.5}, selected=[SERIES],
        elapsed_ms=1.5, job_id=job, decided_at=start + 9.5,
    )  # fmt: skip
    result = _result(database, sender, job, start)
    _events(database, Story(sender, received, pipeline, job, result, start))
    return Story(sender, received, pipeline, job, result, start)


def _instances(database: Database, sender: str, received: str, start: float) -> None:
    for number in range(3):
        one = insert(
            database, schema.instances, sop_instance_uid=f"{SERIES}.{number}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2", transfer_syntax_uid="1.2.840.10008.1.2.1",
            study_instance_uid=STUDY, series_instance_uid=SERIES, patient_id=PATIENT_ID,
            accession_number=ACCESSION, called_ae="LUNG_CT", calling_ae="CT1", host="10.1.0.4",
            association_id=sender, path=f"spool/{number}", size=100, digest="0" * 64,
            kind="RECEIVED", state="STORED", received_at=start + 1 + number,
        )  # fmt: skip
        link = {"payload_id": received, "instance_id": int(one), "revision": 1}
        insert(database, schema.payload_instances, **link)
    attributes = {"Modality": "CT", "PatientName": PATIENT_NAME, "SeriesDescription": DESCRIPTION}
    insert(
        database, schema.payload_series, payload_id=received, series_instance_uid=SERIES,
        first_instance_id=1, attributes=attributes,
    )  # fmt: skip


def _job(
    database: Database, data_dir: Path, sender: str, received: str, pipeline: str, start: float
) -> str:
    job = insert(
        database, schema.jobs, correlation_id=sender, name="LUNG_CT-lung-density-1",
        pipeline_id=pipeline, payload_id=schema.new_id(), received_payload_id=received, revision=1,
        rule="lung density", called_ae="LUNG_CT", selected=[SERIES], priority=3, state="STOPPED",
        status="HEALTHY", attempt=1, variables={}, destinations=["PACS"], metadata={}, cpu=1,
        memory_mb=512, gpus=0, timeout_seconds=600, created_at=start + 10, queued_at=start + 10,
        started_at=start + 11, stopped_at=start + 40,
    )  # fmt: skip
    for position, name in enumerate(("reader", "density")):
        log = f"logs/{job}/1/{name}.log"
        (data_dir / log).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / log).write_text(f"{name} begins\n{name} is done\n")
        begin = start + 11 + 10 * position
        insert(
            database, schema.operators, job_id=job, attempt=1, name=name, position=position,
            status="COMPLETED", exit_code=0, log=log, tail=f"{name} is done\n",
            created_at=start + 10, started_at=begin, stopped_at=begin + 7.5,
        )  # fmt: skip
    return job


def _result(database: Database, sender: str, job: str, start: float) -> str:
    result = insert(
        database, schema.results, correlation_id=sender, job_id=job, attempt=1, agent="ClaraSCU",
        destination="PACS", parameters='"PACS"', deliverable=True, state="DELIVERED",
        created_at=start + 39, delivered_at=start + 45,
    )  # fmt: skip
    insert(
        database, schema.result_files, result_id=result, path="operators/writer/seg.dcm",
        sop_instance_uid="1.2.3.4", sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1", series_instance_uid="1.2.3", size=1000,
        state="SENT", status=0, attempts=1, sent_at=start + 44,
    )  # fmt: skip
    return result


def _events(database: Database, told: Story) -> None:
    about = {"payload_id": told.payload, "correlation_id": told.association}
    with database.begin() as connection:
        record(
            connection, Kind.ASSOCIATION_OPENED, association_id=told.association,
            correlation_id=told.association, data={"state": "OPEN", "called_ae": "LUNG_CT"},
        )  # fmt: skip
        record(connection, Kind.PAYLOAD_COMPLETED, data={"state": "COMPLETE"}, **about)
        record(connection, Kind.JOB_CREATED, job_id=told.job, data={"state": "PENDING"}, **about)
        # A room that breaks the rule: the guard must stop it.
        record(
            connection, Kind.RESULT_WAITING, result_id=told.result, job_id=told.job,
            data={"state": "WAITING", "reason": "no answer", "PatientName": PATIENT_NAME,
                  "accession_number": ACCESSION, "SeriesDescription": DESCRIPTION}, **about,
        )  # fmt: skip
