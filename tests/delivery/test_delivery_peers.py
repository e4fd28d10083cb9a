"""The worker against real Orthanc and DCMTK."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from tests.support.dcmtk import running_storescp
from tests.support.deliveries import AeFolder, delivering, peer, wait_until, worker
from tests.support.job_payload import JobPayload
from tests.support.orthanc import running_orthanc
from tests.support.programs import free_port

pytestmark = pytest.mark.peers


def test_storescp_gets_the_same_bytes(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 5)
    (result_id,) = house.register(job)
    with running_storescp(tmp_path) as scp:
        ae = AeFolder(tmp_path / "ae", [peer("PACS", scp.port, scp.aet)])
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: house.result(result_id).state == "DELIVERED")
        stored = {pydicom.dcmread(path).SOPInstanceUID: path for path in scp.files()}
    assert sorted(stored) == sorted(uids)
    for number, uid in enumerate(uids, 1):
        sent = pydicom.dcmread(
            house.folder(job) / "operators" / "writer" / "seg" / f"{number:04}.dcm"
        )
        got = pydicom.dcmread(stored[uid])
        assert got == sent
        assert got.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


def test_orthanc_and_storescp_at_once(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 3)
    house.register(job, ["PACS", "ARCHIVE"])
    with (
        running_storescp(tmp_path) as scp,
        running_storescp(tmp_path, "BACK") as back,
        running_orthanc(
            tmp_path, modalities={"back": (back.aet, back.port)}, route_to="back"
        ) as orthanc,
    ):
        ae = AeFolder(
            tmp_path / "ae",
            [peer("PACS", orthanc.port, orthanc.aet), peer("ARCHIVE", scp.port, scp.aet)],
        )
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: {r.state for r in house.results()} == {"DELIVERED"})
        assert orthanc.sop_instance_uids() == sorted(uids)
        assert len(scp.files()) == 3
        wait_until(lambda: len(back.files()) == 3)


def test_orthanc_down_then_up(house: JobPayload, tmp_path: Path) -> None:
    port = free_port()
    ae = AeFolder(tmp_path / "ae", [peer("PACS", port, "ORTHANC")])
    job = house.job()
    uids = house.write(job, 3)
    (result_id,) = house.register(job)
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.result(result_id).retries >= 4)
        assert house.events("destination/circuit")[0].data["state"] == "OPEN"
        with running_orthanc(tmp_path, port=port) as orthanc:
            wait_until(lambda: house.result(result_id).state == "DELIVERED")
            assert orthanc.sop_instance_uids() == sorted(uids)


def test_a_peer_that_ends_every_association(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 8)
    (result_id,) = house.register(job)
    # storescp aborts after each instance it stored: its answer is lost.
    with running_storescp(tmp_path, options=["--abort-after"]) as scp:
        ae = AeFolder(tmp_path / "ae", [peer("PACS", scp.port, scp.aet)])
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: house.result(result_id).retries >= 2)
            assert house.result(result_id).state != "DELIVERED"
    positive = {f.sop_instance_uid for f in house.files() if f.state == "SENT"}
    attempts = {f.sop_instance_uid: f.attempts for f in house.files()}
    with running_storescp(tmp_path, port=scp.port) as scp:
        with delivering(worker(house.database, house.data_dir, ae.live)):
            wait_until(lambda: house.result(result_id).state == "DELIVERED")
        assert {pydicom.dcmread(p).SOPInstanceUID for p in scp.files()} == set(uids)
    for file in house.files():
        again = file.sop_instance_uid not in positive
        assert file.attempts == attempts[file.sop_instance_uid] + again
