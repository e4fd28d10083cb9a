"""The applier: batches place as single instances would, nothing is lost or doubled over a crash."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian

from gateway.config.applications import Application
from gateway.database.engine import Database, sqlite_url
from gateway.database.schema import (
    associations,
    events,
    instances,
    intake_positions,
    metadata,
    payload_associations,
    payload_instances,
    payload_series,
    payloads,
    quarantine,
)
from gateway.payloads import grouping
from gateway.payloads.arrived import Received
from gateway.payloads.associations import Opening, record_opening
from gateway.payloads.grouping import place
from gateway.payloads.head import Head
from gateway.payloads.intake import apply as applying
from gateway.payloads.intake.batch import Batch, Item
from gateway.payloads.receiving import Arrival, Status
from tests.payloads.conftest import Receiver
from tests.support.dicom import encode, slice_
from tests.support.intake import LocalIntake

IDS = ["a" * 32, "b" * 32]


def received(number: int, what: tuple[int, int, int, int, int]) -> Received:
    uid, series, patient, association, digest = what
    came = Arrival(
        IDS[association], "AI", "CT1", "127.0.0.1", "1.2", f"1.2.{uid}", ExplicitVRLittleEndian
    )
    head = Head(
        sop_class_uid="1.2",
        sop_instance_uid=f"1.2.{uid}",
        study_instance_uid=f"1.3.{series // 2}",
        series_instance_uid=f"1.4.{series}",
        patient_id=f"P{patient}",
        issuer_of_patient_id="",
        accession_number="",
        geometry=None,
        related={"study": 3} if uid == 3 else {},
    )
    return Received(came, head, f"spool/{number}.dcm", 100 + number, f"{digest}", 1000.0 + number)


def books(database: Database) -> Any:
    """What the index says, without what differs from run to run."""
    with database.read() as connection:
        keys = {
            row.id: (row.group_by, row.group_key, row.generation)
            for row in connection.execute(sa.select(payloads))
        }

        def rows(table: sa.Table, *names: str) -> list[Any]:
            found = [
                tuple(
                    keys.get(getattr(row, n), getattr(row, n))
                    if n == "payload_id"
                    else row._mapping[n]
                    for n in names
                )
                for row in connection.execute(sa.select(table))
            ]
            return sorted(found, key=repr)

        return {
            "payloads": rows(
                payloads, "group_key", "generation", "state", "revision", "instances", "bytes",
                "patient_id", "expected", "conflict", "reason",
            ),
            "instances": rows(
                instances, "sop_instance_uid", "path", "size", "digest", "kind", "state",
                "patient_id", "association_id",
            ),
            "members": rows(payload_instances, "payload_id", "revision", "removed"),
            "series": rows(payload_series, "payload_id", "series_instance_uid"),
            "feeds": rows(payload_associations, "payload_id", "association_id", "revision"),
            "associations": rows(associations, "id", "instances", "bytes", "duplicates", "refused"),
            "events": rows(events, "kind", "association_id", "payload_id"),
        }  # fmt: skip


def fresh(path: Path) -> Database:
    database = Database(sqlite_url(path))
    with database.begin() as connection:
        metadata.create_all(connection)
        for association_id in IDS:
            opening = Opening(association_id, "AI", "CT1", "127.0.0.1", 1, 1.0)
            record_opening(connection, opening, None)
    return database


APPLICATIONS = st.builds(
    Application,
    ae_title=st.just("AI"),
    group_by=st.sampled_from(["patient", "study", "series"]),
    duplicates=st.sampled_from(["keep-first", "replace", "reject"]),
    late_instances=st.sampled_from(["new-revision", "new-payload", "ignore"]),
)
ARRIVALS = st.lists(
    st.tuples(
        st.integers(1, 12), st.integers(0, 3), st.integers(0, 1), st.integers(0, 1),
        st.integers(0, 1),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(application=APPLICATIONS, arrivals=ARRIVALS, cut=st.integers(0, 25))
def test_a_batch_places_as_single_instances_would(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    application: Application,
    arrivals: list[tuple[int, int, int, int, int]],
    cut: int,
) -> None:
    monkeypatch.setattr(grouping.time, "time", lambda: 2000.0)
    folder = tmp_path / "books"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = [received(number, what) for number, what in enumerate(arrivals)]
    one, many = fresh(folder / "one.db"), fresh(folder / "many.db")
    with one.begin() as connection:
        single = [place(connection, each, application) for each in found]
    batched = []
    for part in (found[:cut], found[cut:]):
        with many.begin() as connection:
            items = [Item(each, application) for each in part]
            batch = Batch(connection, items)
            batched += [batch.add(item) for item in items]
            batch.flush()
    assert batched == single
    assert books(many) == books(one)
    one.close()
    many.close()


def crashed(receiver: Receiver) -> None:
    """End the receiver's intake as a kill would: nothing is said, nothing is applied."""
    receiver.local.close()


def restarted(receiver: Receiver, *, run: bool = True) -> LocalIntake:
    receiver.local = LocalIntake(
        receiver.database,
        receiver.folders,
        receiver.ae_config,
        receiver.wakeups,
        receiver.space,
        run=run,
    )
    receiver.spool, receiver.associations = receiver.local.spool, receiver.local.associations
    return receiver.local


def unapplied(receiver: Receiver, *datasets: Any) -> None:
    """Acknowledge instances that no applier sees: the gateway is killed right after."""
    receiver.local.close()
    local = restarted(receiver, run=False)
    association = local.associations.opened("AI", "CT1", "127.0.0.1", 4000)
    for ds in datasets:
        came = Arrival(
            association, "AI", "CT1", "127.0.0.1", str(ds.SOPClassUID), str(ds.SOPInstanceUID),
            ExplicitVRLittleEndian,
        )  # fmt: skip
        incoming = local.spool.open(came)
        incoming.write(encode(ds))
        assert incoming.commit().status in (Status.SUCCESS, Status.CANNOT_UNDERSTAND)
    local.writer.close()


def test_what_was_acknowledged_is_there_after_a_kill(receiver: Receiver) -> None:
    big = slice_(2, PixelData=bytes(3_000_000))
    bad = slice_(3, StudyInstanceUID=None)
    small = slice_(1)
    unapplied(receiver, small, big, bad)
    assert not receiver.rows(instances)
    restarted(receiver)
    rows = receiver.rows(instances)
    assert [row.size for row in rows] == [len(encode(small)), len(encode(big))]
    for row, ds in zip(rows, [small, big], strict=True):
        assert (receiver.folders.root / row.path).read_bytes().endswith(encode(ds))
    assert len(receiver.rows(quarantine)) == 1
    (association,) = receiver.rows(associations)
    assert (association.state, association.instances) == ("ABORTED", 2)
    assert not list(receiver.folders.incoming.iterdir())
    position = receiver.rows(intake_positions)[0].seq
    receiver.local.close()
    restarted(receiver)
    assert len(receiver.rows(instances)) == 2, "applied twice"
    assert receiver.rows(intake_positions)[0].seq == position


def test_files_that_a_power_cut_took_are_made_again(receiver: Receiver) -> None:
    for number in range(3):
        receiver.store(slice_(number))
    first, second, third = [receiver.folders.root / row.path for row in receiver.rows(instances)]
    whole = [path.read_bytes() for path in (first, second, third)]
    crashed(receiver)
    (receiver.folders.log / "0" / "clean").unlink()
    first.unlink()
    second.write_bytes(bytes(len(whole[1])))
    third.write_bytes(b"")
    restarted(receiver)
    assert [path.read_bytes() for path in (first, second, third)] == whole
    assert len(receiver.rows(instances)) == 3


def test_files_of_deleted_instances_stay_away(receiver: Receiver) -> None:
    receiver.store(slice_())
    (row,) = receiver.rows(instances)
    crashed(receiver)
    (receiver.folders.log / "0" / "clean").unlink()
    (receiver.folders.root / row.path).unlink()
    with receiver.database.begin() as connection:
        connection.execute(sa.update(instances).values(state="DELETED"))
    restarted(receiver)
    assert not (receiver.folders.root / row.path).exists()


def test_an_instance_that_the_index_refuses_is_set_aside(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad record fails alone: its neighbours are indexed, it lies in the quarantine."""
    genuine = applying.records.item

    def item(record: Any, config: Any) -> Any:
        if record.meta["h"]["accession_number"] == "BAD":
            raise ValueError("a fault of ours")
        return genuine(record, config)

    unapplied(receiver, slice_(1), slice_(2, AccessionNumber="BAD"), slice_(3))
    monkeypatch.setattr(applying.records, "item", item)
    restarted(receiver)
    assert len(receiver.rows(instances)) == 2
    (aside,) = receiver.rows(quarantine)
    assert aside.reason == "index fault (ValueError)"
    assert (receiver.folders.root / aside.path).exists()


def test_a_lost_association_is_recorded_again(receiver: Receiver) -> None:
    unapplied(receiver, slice_(1))
    with receiver.database.begin() as connection:
        connection.execute(sa.insert(intake_positions).values(receiver=0, seq=1))
    restarted(receiver)
    (association,) = receiver.rows(associations)
    assert (association.state, association.reason) == ("ABORTED", "its record was lost")
    assert association.instances == 1
