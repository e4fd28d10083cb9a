from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Permanent
from gateway.operators.register_results import command
from gateway.results import registration
from gateway.results.registry import Registration, RegistrationError, collect
from tests.support.job_payload import DEFINITION, JobPayload, fresh_uid, write_instance

FILE = {"input": "seg", "path": "0001.dcm"}


def document(**changes: Any) -> dict[str, Any]:
    entry = {"agent": "ClaraSCU", "parameters": ["PACS"], "files": [FILE]} | changes
    return {"version": 1, "registrations": [entry]}


def collected(house: JobPayload, content: object) -> list[Registration]:
    job = house.job()
    house.write(job, 1)
    house.registrations(job, content)
    return collect(house.folder(job), DEFINITION, "register")


def test_an_operator_that_registered_nothing(house: JobPayload) -> None:
    assert collect(house.folder(house.job()), DEFINITION, "register") == []


@pytest.mark.parametrize("label", ["seg", "/writer/seg", "/writer/seg/"])
def test_an_input_is_named_by_label_or_path(house: JobPayload, label: str) -> None:
    job = house.job()
    (uid,) = house.write(job, 1)
    house.registrations(job, document(files=[{"input": label, "path": "0001.dcm"}]))
    (found,) = collect(house.folder(job), DEFINITION, "REGISTER")
    assert (found.agent, found.parameters) == ("ClaraSCU", ("PACS",))
    (file,) = found.files
    assert file.path == "operators/writer/seg/0001.dcm"
    assert file.size == (house.folder(job) / file.path).stat().st_size
    assert file.identity is not None
    assert file.identity.sop_instance_uid == uid
    assert file.identity.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_the_payloads_own_input(house: JobPayload) -> None:
    job = house.job()
    write_instance(house.folder(job) / "input" / "dcm" / "P1" / "s" / "t" / "1.dcm")
    house.registrations(job, document(files=[{"input": "input", "path": "dcm/P1/s/t/1.dcm"}]))
    (found,) = collect(house.folder(job), DEFINITION, "register")
    assert found.files[0].path == "input/dcm/P1/s/t/1.dcm"


def test_a_file_that_is_no_dicom_has_no_identity(house: JobPayload) -> None:
    job = house.job()
    report = house.folder(job) / "operators" / "writer" / "report" / "report.txt"
    report.parent.mkdir(parents=True)
    report.write_text("all is well")
    house.registrations(job, document(files=[{"input": "report", "path": "report.txt"}]))
    (found,) = collect(house.folder(job), DEFINITION, "register")
    assert found.files[0].identity is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([], "version 1"),
        ({"version": 2, "registrations": []}, "version 1"),
        ({"version": 1}, "other keys"),
        ({"version": 1, "registrations": [], "more": 1}, "other keys"),
        ({"version": 1, "registrations": [1]}, "no more"),
        (document(more=1), "no more"),
        (document(agent="-x"), "agent's name"),
        (document(agent="x-"), "agent's name"),
        (document(agent="x" * 65), "agent's name"),
        (document(agent=None), "agent's name"),
        (document(files=[]), "names no file"),
        (document(files=None), "names no file"),
        (document(files=["x"]), "input and path"),
        (document(files=[FILE | {"more": 1}]), "input and path"),
        (document(files=[{"input": 1, "path": "x"}]), "texts"),
        (document(files=[{"input": "nowhere", "path": "x"}]), "no single input"),
        (document(files=[FILE | {"path": "none.dcm"}]), "cannot be opened"),
        (document(files=[FILE | {"path": ""}]), "not allowed"),
        (document(files=[FILE | {"path": "../seg/0001.dcm"}]), "not allowed"),
        (document(files=[FILE | {"path": "/etc/passwd"}]), "not allowed"),
        (document(files=[FILE | {"path": "a\0b"}]), "not allowed"),
        (document(files=[FILE | {"path": "x/" * 600}]), "not allowed"),
        (document(files=[FILE | {"path": "."}]), "not allowed"),
        (document(parameters="PACS"), "a list of 1 to"),
        (document(parameters=[]), "a list of 1 to"),
        (document(parameters=["P"] * 101), "a list of 1 to"),
        (document(parameters=["P" * 20_000]), "exceeds"),
    ],
)
def test_bad_registrations(house: JobPayload, content: object, words: str) -> None:
    with pytest.raises(Permanent, match=words):
        collected(house, content)


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_REGISTRATIONS", "MOST_FILES"])
def test_limits(house: JobPayload, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(registration, limit, 1)
    many = {"version": 1, "registrations": document()["registrations"] * 2}
    with pytest.raises(RegistrationError):
        collected(house, many)


@pytest.mark.parametrize("kind", ["file", "folder", "registrations", "fifo", "directory"])
def test_nothing_leads_out_of_the_payload(house: JobPayload, tmp_path: Path, kind: str) -> None:
    job = house.job()
    seg = house.folder(job) / "operators" / "writer" / "seg"
    seg.mkdir(parents=True)
    outside = tmp_path / "outside"
    write_instance(outside / "0001.dcm")
    house.registrations(job, document(files=[FILE | {"path": "x/0001.dcm"}]))
    (seg / "x").mkdir()
    target = seg / "x" / "0001.dcm"
    if kind == "file":
        target.symlink_to(outside / "0001.dcm")
    elif kind == "folder":
        (seg / "x").rmdir()
        (seg / "x").symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "directory":
        target.mkdir()
    else:
        written = house.folder(job) / "operators" / "register" / ".clara-results.json"
        written.rename(tmp_path / "r.json")
        written.symlink_to(tmp_path / "r.json")
    with pytest.raises(Permanent):
        collect(house.folder(job), DEFINITION, "register")


def test_reasons_hide_the_patient(house: JobPayload) -> None:
    entry = {"input": "input", "path": "dcm/SECRET/1/2/3.dcm"}
    with pytest.raises(Permanent) as caught:
        collected(house, document(files=[entry]))
    assert "SECRET" not in str(caught.value)


def test_dicom_that_nobody_could_store_is_refused(house: JobPayload) -> None:
    job = house.job()
    path = house.folder(job) / "operators" / "writer" / "seg" / "0001.dcm"
    ds = write_instance(path)
    uid = ds.SOPInstanceUID.encode()
    # The data set's own UID (the second one) is changed, the file meta information's is not.
    head, _, tail = path.read_bytes().rpartition(uid)
    path.write_bytes(head + b"9" + uid[1:] + tail)
    house.registrations(job, document())
    with pytest.raises(Permanent, match="file meta information"):
        collect(house.folder(job), DEFINITION, "register")


def test_a_copy_is_dropped_and_another_content_refused(house: JobPayload) -> None:
    job = house.job()
    seg = house.folder(job) / "operators" / "writer" / "seg"
    uid = fresh_uid()
    write_instance(seg / "a.dcm", SOPInstanceUID=uid)
    (seg / "b.dcm").write_bytes((seg / "a.dcm").read_bytes())
    both = document(files=[FILE | {"path": "a.dcm"}, FILE | {"path": "b.dcm"}])
    house.registrations(job, both)
    (found,) = collect(house.folder(job), DEFINITION, "register")
    assert [file.path for file in found.files] == ["operators/writer/seg/a.dcm"]
    write_instance(seg / "b.dcm", SOPInstanceUID=uid, PatientID="OTHER")
    with pytest.raises(RegistrationError, match="different data"):
        collect(house.folder(job), DEFINITION, "register")


def test_registered_files_are_flushed(house: JobPayload, monkeypatch: pytest.MonkeyPatch) -> None:
    job = house.job()
    house.write(job, 2)
    files = [FILE, FILE | {"path": "0002.dcm"}]
    house.registrations(job, json.dumps(document(files=files)))
    flushed: set[str] = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    collect(house.folder(job), DEFINITION, "register")
    folder = house.folder(job)
    expected = ["", "operators", "operators/writer", "operators/writer/seg"]
    expected += [f"operators/writer/seg/000{n}.dcm" for n in (1, 2)]
    assert {str(folder / name) for name in expected} <= flushed


def test_the_operator_that_ships_is_understood(house: JobPayload) -> None:
    job = house.job()
    house.write(job, 2)
    folder = house.folder(job)
    report = folder / "operators" / "writer" / "report"
    report.mkdir()
    (report / "r.txt").write_text("x")
    environ = {
        "NVIDIA_CLARA_INPUTPATHS": f"seg:{folder}/operators/writer/seg;report:{report}",
        "NVIDIA_CLARA_RESULTS": str(folder / "operators" / "register" / ".clara-results.json"),
    }
    assert command.main(["--data", '["PACS", "ARCHIVE"]'], environ) == 0
    assert command.main(["--agent", "renderserver"], environ) == 0
    first, second = collect(folder, DEFINITION, "register")
    assert (first.agent, first.parameters) == ("ClaraSCU", ("PACS", "ARCHIVE"))
    assert (second.agent, second.parameters) == ("renderserver", None)
    names = ["seg/0001.dcm", "seg/0002.dcm", "report/r.txt"]
    assert [f.path for f in first.files] == [f"operators/writer/{name}" for name in names]
