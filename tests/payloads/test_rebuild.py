"""The index built again from the files alone."""

from __future__ import annotations

import sqlalchemy as sa

from gateway.database.schema import associations, instances, metadata, payloads, quarantine
from gateway.payloads.rebuild import REASON, rebuild
from tests.payloads.conftest import Receiver
from tests.payloads.test_intake_apply import restarted, unapplied
from tests.support.dicom import slice_

_KEPT = ("sop_instance_uid", "study_instance_uid", "patient_id", "called_ae", "calling_ae", "host",
         "association_id", "size", "digest", "transfer_syntax_uid")  # fmt: skip


def kept(receiver: Receiver) -> list[tuple[object, ...]]:
    rows = receiver.rows(instances)
    return sorted(tuple(row._mapping[name] for name in _KEPT) for row in rows)


def lose_everything(receiver: Receiver) -> None:
    with receiver.database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


def test_a_lost_index_is_built_from_the_spool(receiver: Receiver) -> None:
    association = receiver.association()
    for number in range(3):
        receiver.store(slice_(number), association)
    receiver.store(slice_(9, StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1", PatientID="P2"))
    receiver.store(slice_(4, StudyInstanceUID=None))
    before = kept(receiver)
    receiver.local.close()
    # The log of long ago is overwritten by now: only files are left.
    for segment in (receiver.folders.log / "0").glob("*.seg"):
        segment.unlink()
    lose_everything(receiver)
    restarted(receiver)
    result = rebuild(receiver.database, receiver.folders, receiver.ae_config.current)
    assert (result.indexed, result.quarantined, result.foreign, result.payloads) == (4, 1, 0, 2)
    assert kept(receiver) == before
    for row in receiver.rows(instances):
        assert (receiver.folders.root / row.path).exists()
    states = {(p.state, p.reason) for p in receiver.rows(payloads, payloads.c.instances > 0)}
    assert states == {("UNMATCHED", REASON)}
    assert len(receiver.rows(quarantine)) == 1
    assert {a.state for a in receiver.rows(associations)} == {"ABORTED"}
    again = rebuild(receiver.database, receiver.folders, receiver.ae_config.current)
    assert (again.known, again.indexed, again.payloads) == (5, 0, 0)


def test_what_only_the_log_holds_survives_a_lost_index(receiver: Receiver) -> None:
    receiver.store(slice_(1))
    unapplied(receiver, slice_(2), slice_(3))
    lose_everything(receiver)
    restarted(receiver)
    assert len(receiver.rows(instances)) == 2
    # The first lies in a part of the log that was overwritten; its file is an orphan now.
    result = rebuild(receiver.database, receiver.folders, receiver.ae_config.current)
    assert (result.indexed, result.known) == (1, 2)
    assert len(receiver.rows(instances)) == 3
    assert not list(receiver.folders.orphans.iterdir())


def test_foreign_files_are_left(receiver: Receiver) -> None:
    path = receiver.folders.spool / "20200101" / "00" / "x.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(40))
    result = rebuild(receiver.database, receiver.folders, receiver.ae_config.current)
    assert (result.foreign, result.indexed) == (1, 0)
    assert path.exists()
