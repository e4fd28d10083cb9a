from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.delivery import folder_agent
from gateway.events import faults
from tests.support.deliveries import AeFolder, delivering, wait_until, worker
from tests.support.job_payload import JobPayload


def folder(name: str, path: Path) -> dict[str, Any]:
    return {"name": name, "folder": str(path)}


def deliver(house: JobPayload, ae: AeFolder, result_id: str, state: str = "DELIVERED") -> None:
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.result(result_id).state == state)


def tree(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_dicom_and_other_files(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 2)
    report = house.folder(job) / "operators" / "writer" / "report" / "a" / "r.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    out = tmp_path / "out"
    out.mkdir()
    (result_id,) = house.register(job)
    deliver(house, AeFolder(tmp_path / "ae", [folder("PACS", out)]), result_id)
    series = "1.2.826.0.1.3680043.8.498.1/1.2.826.0.1.3680043.8.498.2"
    expected = [f"{series}/{uid}.dcm" for uid in uids] + [f"{job}/writer/report/a/r.json"]
    assert tree(out) == sorted(expected)
    for number, uid in enumerate(uids, 1):
        source = house.folder(job) / "operators" / "writer" / "seg" / f"{number:04}.dcm"
        assert (out / series / f"{uid}.dcm").read_bytes() == source.read_bytes()
    assert {f.state for f in house.files()} == {"SENT"}


def test_what_lies_there_already(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 2)
    out = tmp_path / "out"
    out.mkdir()
    (result_id,) = house.register(job)
    ae = AeFolder(tmp_path / "ae", [folder("PACS", out)])
    deliver(house, ae, result_id)
    first, second = (out / name for name in tree(out))
    other_job = house.job()
    for number, path in enumerate((first, second), 1):
        target = house.folder(other_job) / "operators" / "writer" / "seg" / f"{number}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    inode = first.stat().st_ino
    second.write_bytes(second.read_bytes()[:-2] + b"xx")
    changed = second.read_bytes()
    (result_id,) = house.register(other_job)
    deliver(house, ae, result_id, "FAILED")
    assert "other data lies there" in house.result(result_id).reason
    assert sorted(f.state for f in house.files(result_id)) == ["FAILED", "SENT"]
    assert (first.stat().st_ino, second.read_bytes()) == (inode, changed)


def test_a_folder_that_is_not_there_waits(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job)
    out = tmp_path / "share"
    ae = AeFolder(tmp_path / "ae", [folder("PACS", out)])
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.result(result_id).state == "WAITING")
        assert f"the folder {out} is not there" in house.result(result_id).reason
        assert not out.exists()
        out.mkdir()
        wait_until(lambda: house.result(result_id).state == "DELIVERED")


def test_a_full_disk_leaves_no_half_file_under_the_name(
    house: JobPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = house.job()
    house.write(job, 1)
    (result_id,) = house.register(job)
    out = tmp_path / "out"
    out.mkdir()
    fsync, full = os.fsync, True

    def failing(descriptor: int) -> None:
        if full and "partial" in os.fspath(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(folder_agent.os, "fsync", failing)
    ae = AeFolder(tmp_path / "ae", [folder("PACS", out)])
    with delivering(worker(house.database, house.data_dir, ae.live)):
        wait_until(lambda: house.result(result_id).state == "WAITING")
        assert "No space left on device" in house.result(result_id).reason
        assert [name for name in tree(out) if name.endswith(".dcm")] == []
        full = False
        wait_until(lambda: house.result(result_id).state == "DELIVERED")
    assert len(tree(out)) == 1


def test_killed_after_writing_it_is_found_again(
    house: JobPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = house.job()
    house.write(job, 2)
    (result_id,) = house.register(job)
    out = tmp_path / "out"
    out.mkdir()

    class Died(BaseException):
        """Ends the thread as SIGKILL would: no handler sees it."""

    def die(name: str) -> None:
        if name == "delivery.folder-written":
            raise Died

    ae = AeFolder(tmp_path / "ae", [folder("PACS", out)])
    subject = worker(house.database, house.data_dir, ae.live)
    with monkeypatch.context() as patch:
        patch.setattr(faults, "point", die)
        with pytest.raises(Died):
            subject._round("pacs")
    assert len(tree(out)) == 1
    assert house.result(result_id).state == "SENDING"
    deliver(house, ae, result_id)
    assert len(tree(out)) == 2
