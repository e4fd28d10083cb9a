"""Inputs, logs, names and the lease on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.jobs.logs import Logs
from gateway.jobs.names import clean_text, safe_name
from gateway.jobs.payload_files import InputMissing, PayloadFiles
from gateway.jobs.transitions import Job
from tests.support.jobs_world import SERIES, STUDY, World, writing


def job_of(world: World, payload: str, **more: object) -> Job:
    world.pipeline("write", writing())
    return world.job(world.create("write", payload, **more))


def lay_out(world: World, job: Job) -> Path:
    with world.database.read() as connection:
        return world.files.materialise(connection, job)


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_input_is_read_only_hard_links_of_the_selected_series(world: World) -> None:
    payload = world.received(instances=2, patient_id="P1")
    world.arrive(payload, "1.2.3", patient_id="P1", series="1.2")
    folder = lay_out(world, job_of(world, payload))
    base = f"input/dcm/P1/{STUDY}/{SERIES}"
    assert files_in(folder) == [f"{base}/{SERIES}.1.dcm", f"{base}/{SERIES}.2.dcm"]
    for name in files_in(folder):
        status = (folder / name).stat()
        assert status.st_nlink == 2
        assert not status.st_mode & 0o222


def test_input_is_that_of_the_jobs_revision(world: World) -> None:
    payload = world.received(instances=1, patient_id="P1")
    world.arrive(payload, "1.9.1", patient_id="P1", removed=2)
    world.arrive(payload, "1.9.2", patient_id="P1", revision=2)
    first = lay_out(world, job_of(world, payload))
    second = lay_out(world, job_of(world, payload, revision=2))
    assert [Path(name).name for name in files_in(first)] == [f"{SERIES}.1.dcm", "1.9.1.dcm"]
    assert [Path(name).name for name in files_in(second)] == [f"{SERIES}.1.dcm", "1.9.2.dcm"]


def test_laying_out_twice_and_after_a_crash_gives_the_same(world: World) -> None:
    job = job_of(world, world.received())
    folder = world.files.folder(job.payload_id)
    half = folder / "input.partial" / "dcm" / "left" / "over"
    half.mkdir(parents=True)
    (half / "x.dcm").write_text("half")
    lay_out(world, job)
    once = files_in(folder)
    assert len(once) == 3
    lay_out(world, job)
    assert files_in(folder) == once


def test_no_selected_instance_is_an_error(world: World) -> None:
    job = job_of(world, world.received(), selected=["9.9"])
    with pytest.raises(InputMissing):
        lay_out(world, job)


def test_a_job_made_by_hand_has_an_empty_input(world: World) -> None:
    world.pipeline("write", writing())
    folder = lay_out(world, world.job(world.create("write")))
    assert files_in(folder) == []
    assert (folder / "input").is_dir()


def test_a_spool_on_another_device_is_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_device(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(os, "link", other_device)
    folder = lay_out(world, job_of(world, world.received()))
    for name in files_in(folder):
        status = (folder / name).stat()
        assert (status.st_nlink, status.st_mode & 0o777) == (1, status.st_mode & 0o555)
        assert (folder / name).read_text() == Path(name).stem


def test_two_instances_of_one_name_are_both_there(world: World) -> None:
    payload = world.received(instances=1)
    world.arrive(payload, f"{SERIES}.1", patient_id="P 1/2")
    assert len(files_in(lay_out(world, job_of(world, payload)))) == 2


def test_remove_leaves_nothing_and_spares_the_spool(world: World) -> None:
    job = job_of(world, world.received())
    folder = lay_out(world, job)
    world.files.remove(job.payload_id)
    world.files.remove(job.payload_id)
    assert list(folder.parent.iterdir()) == []
    assert len(list((world.data_dir / "spool").iterdir())) == 3


def test_remove_goes_on_where_it_was_cut_short(world: World) -> None:
    job = job_of(world, world.received())
    folder = lay_out(world, job)
    folder.rename(folder.parent / f".deleted-{job.payload_id}")
    world.files.remove(job.payload_id)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("bad", ["", "../x", "A" * 32, "a" * 31, "a" * 32 + "/.."])
def test_only_ids_name_folders(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match="no payload id"):
        PayloadFiles(tmp_path).folder(bad)


def test_names_are_safe_distinct_and_stable() -> None:
    assert safe_name("1.2.840.1") == "1.2.840.1"
    assert safe_name("") == "unknown"
    texts = [
        "..",
        ".",
        "a/b",
        "a_b",
        "a\\b",
        "-rf",
        "Ä",
        "x" * 300,
        "x" * 301,
        "unknown",
        "a\0b",
        " ",
    ]
    names = [safe_name(text) for text in texts]
    assert len({*names, "unknown"}) == len(texts) + 1
    for name in names:
        assert len(name.encode()) <= 80
        assert "/" not in name
        assert name.isascii()
        assert name[0] not in ".-"
    assert names == [safe_name(text) for text in texts]


def test_texts_for_records_are_clean() -> None:
    assert clean_text("a\0b\x1b[31m\tc\nd\udc80") == "ab[31m\tc\nd?"
    assert len(clean_text("x" * 10000)) == 4096


def test_tails_are_short(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    log = tmp_path / "logs" / "x.log"
    log.parent.mkdir()
    log.write_text("".join(f"line {n}\n" for n in range(1000)))
    assert logs.tail("logs/x.log").splitlines() == [f"line {n}" for n in range(980, 1000)]
    log.write_bytes(b"\xff" * 10000)
    assert len(logs.tail("logs/x.log")) <= 4096
    assert logs.tail("logs/none.log") == ""
    with pytest.raises(ValueError, match="leads out"):
        logs.path("../etc/passwd")
    with pytest.raises(ValueError, match="leads out"):
        logs.path("/etc/passwd")


def test_a_log_can_be_followed(world: World) -> None:
    world.pipeline("talk", writing("echo häh; sleep 0.1; echo second"))
    with world.scheduling():
        job = world.create("talk", world.received())
        world.settle(job)
    with world.database.read() as connection:
        whole = world.logs.read(connection, job, "WRITE")
        assert whole.text == "häh\nsecond\n"
        rest = world.logs.read(connection, job, "write", offset=5)
        assert rest.text == "second\n"
        assert world.logs.read(connection, job, "write", offset=rest.next_offset).text == ""
        with pytest.raises(Refused, match="no operator 'other'"):
            world.logs.read(connection, job, "other")


def test_half_a_character_waits_for_its_other_half(world: World) -> None:
    world.pipeline("talk", writing("printf 'a\\303'"))
    with world.scheduling():
        job = world.create("talk", world.received())
        world.settle(job)
    with world.database.read() as connection:
        chunk = world.logs.read(connection, job, "write")
        assert (chunk.text, chunk.next_offset) == ("a", 1)
