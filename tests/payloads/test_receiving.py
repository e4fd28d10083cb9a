"""From the spool's interface to durable records: duplicates, grouping, revisions, quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.config.settings import RetentionSettings, StorageSettings
from gateway.database.schema import (
    associations,
    instances,
    new_id,
    payload_instances,
    payload_revisions,
    payload_series,
    payloads,
    quarantine,
    results,
)
from gateway.errors import Refused
from gateway.payloads.receiving import Arrival, Status
from gateway.payloads.recovery import recover
from gateway.payloads.retention import Retention
from gateway.payloads.space import Space
from tests.support import seed
from tests.support.dicom import encode, slice_


def stored_bytes(receiver: Any, row: Any) -> bytes:
    return (receiver.folders.root / row.path).read_bytes()


def test_a_data_set_is_kept_byte_for_byte(receiver: Any) -> None:
    ds = slice_()
    assert receiver.store(ds).status is Status.SUCCESS
    (row,) = receiver.rows(instances)
    assert stored_bytes(receiver, row).endswith(encode(ds))
    assert row.size == len(encode(ds))
    assert row.geometry["position"] == [0, 0, 2.5]
    assert not list(receiver.folders.incoming.iterdir())


def test_one_study_is_one_payload(receiver: Any) -> None:
    association = receiver.association()
    for number in range(5):
        receiver.store(slice_(number), association)
    payload = receiver.payload()
    assert (payload.state, payload.instances, payload.revision) == ("RECEIVING", 5, 1)
    assert len(receiver.rows(payload_series)) == 1
    (a,) = receiver.rows(associations)
    assert (a.instances, a.bytes) == (5, payload.bytes)


@pytest.mark.parametrize(("group_by", "count"), [("patient", 1), ("study", 2), ("series", 3)])
def test_grouping(receiver: Any, group_by: str, count: int) -> None:
    receiver.configure(**{"group-by": group_by})
    receiver.store(slice_(1))
    receiver.store(slice_(2, SeriesInstanceUID="1.2.3"))
    receiver.store(slice_(3, StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.5"))
    assert len(receiver.rows(payloads)) == count


def test_patients_without_an_id_are_never_mixed(receiver: Any) -> None:
    receiver.configure(**{"group-by": "patient"})
    receiver.store(slice_(1, PatientID=""))
    receiver.store(slice_(2, PatientID="", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1"))
    assert len(receiver.rows(payloads)) == 2


def test_the_same_data_set_again_is_stored_once(receiver: Any) -> None:
    ds = slice_()
    assert receiver.store(ds).status is Status.SUCCESS
    assert receiver.store(ds).status is Status.SUCCESS
    assert len(receiver.rows(instances)) == 1
    assert sum(row.duplicates for row in receiver.rows(associations)) == 1
    assert len(list(receiver.folders.spool.glob("*/*/*"))) == 1


@pytest.mark.parametrize(
    ("policy", "status", "kept"),
    [
        ("keep-first", Status.SUCCESS, "first"),
        ("replace", Status.SUCCESS, "second"),
        ("reject", Status.DUPLICATE_SOP_INSTANCE, "first"),
    ],
)
def test_another_data_set_under_the_same_uid(
    receiver: Any, policy: str, status: Status, kept: str
) -> None:
    receiver.configure(duplicates=policy)
    first = slice_(StudyDescription="first")
    second = slice_(StudyDescription="second", SOPInstanceUID=first.SOPInstanceUID)
    receiver.store(first)
    assert receiver.store(second).status is status
    (row,) = receiver.rows(instances, instances.c.state == "STORED")
    assert kept.encode() in stored_bytes(receiver, row)
    assert receiver.payload().instances == 1
    assert "instance/duplicate" in receiver.kinds()


def test_replace_after_completion_is_a_new_revision(receiver: Any) -> None:
    receiver.configure(duplicates="replace")
    first = slice_()
    receiver.store(first)
    receiver.age(10)
    receiver.complete()
    receiver.store(slice_(StudyDescription="x", SOPInstanceUID=first.SOPInstanceUID))
    assert (receiver.payload().state, receiver.payload().revision) == ("RECEIVING", 2)
    members = sorted((m.revision, m.removed) for m in receiver.rows(payload_instances))
    assert members == [(1, 2), (2, None)]


def test_ignored_sop_class(receiver: Any) -> None:
    ds = slice_()
    receiver.configure(accept={"ignore-sop-classes": [str(ds.SOPClassUID)]})
    assert receiver.store(ds).status is Status.SUCCESS
    assert not receiver.rows(instances)
    (a,) = receiver.rows(associations)
    assert (a.ignored, a.instances) == (1, 0)
    assert "instance/ignored" in receiver.kinds()


def test_completion_and_a_late_image(receiver: Any) -> None:
    receiver.store(slice_(1))
    receiver.complete()
    assert receiver.payload().state == "RECEIVING"
    receiver.age(10)
    receiver.complete()
    assert receiver.payload().state == "COMPLETE"
    receiver.store(slice_(2))
    payload = receiver.payload()
    assert (payload.state, payload.revision, payload.instances) == ("RECEIVING", 2, 2)
    receiver.age(10)
    receiver.complete()
    assert [(r.revision, r.instances, r.reason) for r in receiver.rows(payload_revisions)] == [
        (1, 1, "quiet"),
        (2, 2, "quiet"),
    ]
    assert receiver.kinds().count("payload/revised") == 1


@pytest.mark.parametrize(("policy", "expected"), [("new-payload", 2), ("ignore", 1)])
def test_other_policies_for_late_images(receiver: Any, policy: str, expected: int) -> None:
    receiver.configure(**{"late-instances": policy})
    receiver.store(slice_(1))
    receiver.age(10)
    receiver.complete()
    assert receiver.store(slice_(2)).status is Status.SUCCESS
    rows = receiver.rows(payloads)
    assert len(rows) == expected
    assert {row.revision for row in rows} == {1}


@pytest.mark.parametrize("group_by", ["study", "patient", "series"])
def test_two_patients_under_one_study_uid(receiver: Any, group_by: str) -> None:
    receiver.configure(**{"group-by": group_by})
    receiver.store(slice_(1))
    receiver.store(slice_(2, PatientID="P2", SeriesInstanceUID="1.2.3"))
    receiver.age(10)
    receiver.complete()
    assert {row.state for row in receiver.rows(payloads)} == {"CONFLICT"}
    for row in receiver.rows(payloads):
        receiver.actions.release_conflict(row.id)
    assert {row.state for row in receiver.rows(payloads)} == {"COMPLETE"}
    with pytest.raises(Refused, match="in no conflict"):
        receiver.actions.release_conflict(receiver.rows(payloads)[0].id)


def test_a_conflict_after_completion_holds_the_payload(receiver: Any) -> None:
    receiver.store(slice_(1))
    receiver.age(10)
    receiver.complete()
    receiver.store(slice_(2, PatientID="P2"))
    assert receiver.payload().conflict
    receiver.age(10)
    receiver.complete()
    assert receiver.payload().state == "CONFLICT"


@pytest.mark.parametrize(
    ("changes", "command", "reason"),
    [
        ({"StudyInstanceUID": None}, {}, "StudyInstanceUID is absent"),
        ({"SeriesInstanceUID": ""}, {}, "SeriesInstanceUID is absent or empty"),
        ({}, {"sop_instance_uid": "1.2.9"}, "SOPInstanceUID differs"),
        ({}, {"sop_class_uid": "1.2.9"}, "SOPClassUID differs"),
    ],
    ids=str,
)
def test_unusable_data_sets_go_to_the_quarantine(
    receiver: Any, changes: dict[str, Any], command: dict[str, str], reason: str
) -> None:
    ds = slice_(**changes)
    outcome = receiver.store(ds, command=command)
    assert outcome.status is Status.CANNOT_UNDERSTAND
    assert reason in outcome.comment
    (item,) = receiver.rows(quarantine)
    assert stored_bytes(receiver, item).endswith(encode(ds))
    assert receiver.payload().state == "QUARANTINED"


def test_garbage_goes_to_the_quarantine(receiver: Any) -> None:
    arrival = Arrival(
        receiver.association(), "AI", "CT1", "127.0.0.1", "1.2", "1.3", "1.2.840.10008.1.2.1"
    )
    incoming = receiver.spool.open(arrival)
    incoming.write(b"\xff" * 1000)
    assert incoming.commit().status is Status.CANNOT_UNDERSTAND
    receiver.local.settle()
    assert len(receiver.rows(quarantine)) == 1


def test_retrying_the_quarantine(receiver: Any) -> None:
    ds = slice_()
    receiver.store(ds, command={"sop_instance_uid": "1.2.9"})
    (item,) = receiver.rows(quarantine)
    receiver.actions.retry_quarantine(item.id)
    (row,) = receiver.rows(instances)
    assert stored_bytes(receiver, row).endswith(encode(ds))
    assert row.size == len(encode(ds))
    states = {p.state for p in receiver.rows(payloads)}
    assert states == {"DELETED", "RECEIVING"}
    with pytest.raises(Refused):
        receiver.actions.retry_quarantine(item.id)


def test_retrying_what_is_still_unusable_says_why(receiver: Any) -> None:
    receiver.store(slice_(StudyInstanceUID=None))
    (item,) = receiver.rows(quarantine)
    with pytest.raises(Refused, match="StudyInstanceUID is absent"):
        receiver.actions.retry_quarantine(item.id)
    assert receiver.payload().state == "QUARANTINED"


def test_no_room(receiver: Any) -> None:
    receiver.spool._space = Space(receiver.folders.root, StorageSettings(reserve_gb=1e9))
    outcome = receiver.store(slice_())
    assert outcome.status is Status.OUT_OF_RESOURCES
    assert "reserve" in outcome.comment
    assert not receiver.rows(instances)


def test_an_aborted_instance_leaves_nothing(receiver: Any) -> None:
    arrival = Arrival(receiver.association(), "AI", "CT1", "h", "1.2", "1.3", "1.2.840.10008.1.2")
    incoming = receiver.spool.open(arrival)
    incoming.write(b"half")
    incoming.abort()
    incoming.abort()
    assert not list(receiver.folders.incoming.iterdir())


def test_recovery_keeps_unknown_files_and_removes_halves(receiver: Any) -> None:
    receiver.store(slice_())
    (receiver.folders.incoming / "x.part").write_bytes(b"half")
    unknown = receiver.folders.spool / "20200101" / "00" / "y.dcm"
    unknown.parent.mkdir(parents=True)
    unknown.write_bytes(b"whole")
    assert recover(receiver.database, receiver.folders) == (1, 1)
    assert (receiver.folders.orphans / "y.dcm").read_bytes() == b"whole"
    (row,) = receiver.rows(instances)
    assert (receiver.folders.root / row.path).exists()


def retention(receiver: Any, **hours: float) -> Retention:
    return Retention(
        receiver.database, receiver.folders, RetentionSettings(**hours), receiver.space
    )


def test_retention_of_an_unmatched_payload(receiver: Any) -> None:
    receiver.store(slice_())
    payload = receiver.payload()
    with receiver.database.begin() as connection:
        connection.execute(sa.update(payloads).values(state="UNMATCHED", routed_at=1000.0))
    sweeper = retention(receiver, unmatched_hours=1)
    assert sweeper.sweep(1000.0 + 3599) == []
    assert sweeper.sweep(1000.0 + 3600) == [payload.id]
    assert receiver.payload().state == "DELETED"
    assert not list(receiver.folders.spool.glob("*/*/*.dcm"))
    assert "payload/deleted" in receiver.kinds()
    assert receiver.store(slice_(9)).status is Status.SUCCESS
    assert {p.generation for p in receiver.rows(payloads)} == {1, 2}


def test_above_the_watermark_the_oldest_finished_go_first(receiver: Any) -> None:
    for number in range(2):
        receiver.store(slice_(number, StudyInstanceUID=f"1.2.{number}", SeriesInstanceUID="1.3"))
    with receiver.database.begin() as connection:
        c = payloads.c
        connection.execute(sa.update(payloads).values(state="ROUTED", routed_at=c.opened_at))
    full = Space(receiver.folders.root, StorageSettings(reserve_gb=1e9))
    sweeper = Retention(receiver.database, receiver.folders, RetentionSettings(), full)
    oldest = [p.id for p in sorted(receiver.rows(payloads), key=lambda p: p.opened_at)]
    assert sweeper.sweep(receiver.rows(payloads)[0].opened_at + 1) == oldest


def test_a_payload_that_receives_is_not_deleted_by_hand(receiver: Any) -> None:
    receiver.store(slice_())
    with pytest.raises(Refused, match="cannot delete"):
        retention(receiver).delete(receiver.payload().id, "by hand")
    with pytest.raises(Refused, match="no payload"):
        retention(receiver).delete(new_id(), "by hand")


def test_the_tag_that_announces_the_count(receiver: Any) -> None:
    receiver.configure(**{"complete-when": {"quiet-seconds": None, "instances": "tag"}})
    receiver.store(slice_(1, NumberOfStudyRelatedInstances=2))
    receiver.complete()
    assert receiver.payload().state == "RECEIVING"
    receiver.store(slice_(2))
    receiver.complete()
    assert (receiver.payload().state, receiver.payload().reason) == ("COMPLETE", "tag")


def test_files_are_private(receiver: Any, tmp_path: Path) -> None:
    receiver.store(slice_())
    (row,) = receiver.rows(instances)
    assert (receiver.folders.root / row.path).stat().st_mode & 0o077 == 0
    assert receiver.folders.root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("state", ["PENDING", "SENDING", "WAITING"])
def test_a_payload_with_an_open_result_outlives_its_hours(
    receiver: Any, tmp_path: Path, state: str
) -> None:
    told = seed.story(receiver.database, receiver.folders.root)
    change = sa.update(results).where(results.c.job_id == told.job)
    with receiver.database.begin() as connection:
        connection.execute(change.values(state=state, deliverable=True))
    sweeper = retention(receiver, delivered_hours=0, failed_hours=0)
    assert told.payload not in sweeper.sweep(4e9)
    with receiver.database.begin() as connection:
        connection.execute(change.values(state="DELIVERED"))
    assert told.payload in sweeper.sweep(4e9)
