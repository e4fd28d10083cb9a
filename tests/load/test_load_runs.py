"""``gateway load`` against a gateway: jobs through its platform API, studies by C-STORE."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gateway.load.studies import Identity
from tests.support.dicom import slice_
from tests.support.evidence import kept
from tests.support.site import Site, application, operator, pipeline, write

FAIL = "import pathlib, sys; sys.exit(any(pathlib.Path('/input').rglob('bad')))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("load"),
        applications=[application()],
        pipelines=[pipeline("check", operator("check", FAIL, output=[]))],
    )
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0


def load(site: Site, *arguments: object, code: int = 0) -> dict[str, Any]:
    done = site.cli("load", *map(str, arguments), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def grpc(site: Site) -> str:
    return f"127.0.0.1:{site.ports['grpc']}"


def test_jobs_with_input_and_priorities(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x" * 200_000)
    (tmp_path / "b").write_bytes(b"")
    body = load(
        site, "jobs", "many", "check", tmp_path, "-r", "-s", "-n", 6, "-t", grpc(site),
        "-p", "low", "-p", "high=2", "--seed", 3, "--wait", 60,
    )  # fmt: skip
    assert (body["generated"], body["failures"], body["ended"]) == (6, 0, {"HEALTHY": 6})
    assert body["bytes"] == 3 * 200_000
    assert set(body["latency_ms"]) == {"create", "upload", "start", "whole", "start_to_end"}
    jobs = [job for job in site.items("jobs") if job["name"].startswith("cpload-many-")]
    assert {job["name"] for job in jobs} == {f"cpload-many-{n}" for n in range(1, 7)}
    assert sum(body["priorities"].values()) == 6
    (one,) = {job["payload_id"] for job in jobs if job["name"] == "cpload-many-1"}
    assert (site.data / "payloads" / one / "input" / "x").stat().st_size == 200_000


def test_failures_end_it_non_zero(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"x")
    done = site.cli(
        "load", "generate", "-n", "2", "-t", grpc(site), "--wait", "60", "--json", "bad", "check",
        "--", str(tmp_path / "bad"), "--stats",
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["ended"] == {"FAULTED": 2}
    assert "2 of 2 jobs failed" in done.stderr


def test_a_gateway_that_is_not_there(site: Site) -> None:
    done = site.cli("load", "jobs", "x", "check", "-t", "127.0.0.1:9")
    assert done.returncode == 4
    assert site.cli("load", "jobs", "x", "nothing", "-t", grpc(site)).returncode == 1


def test_bad_options(site: Site) -> None:
    for options in (
        ["--rate", "1", "--delay", "1"], ["-p", "soon"], ["-p", "low=x"], ["-p", "low=0"],
        ["--", "a", "b"],
    ):  # fmt: skip
        done = site.cli("load", "jobs", "x", "check", "-t", grpc(site), *options)
        assert done.returncode in (1, 2), done
        assert "Traceback" not in done.stderr


def test_synthetic_studies_at_a_rate(site: Site) -> None:
    to = f"AI@127.0.0.1:{site.ports['dicom']}"
    body = load(
        site, "studies", to, "--calling", "CT1", "--instances", 3, "--matrix", 16,
        "--rate", 20, "--duration", 0.5,
    )  # fmt: skip
    assert (body["generated"], body["failures"], body["wanted_rate"]) == (10, 0, 20)
    assert body["latency_ms"]["instance"]["count"] == 30
    assert body["latency_ms"]["whole"]["count"] == 10
    stored = site.wait(lambda: len(found := kept(site, "AI")) >= 30 and found)
    files = [pydicom.dcmread(one.file) for one in stored.values()]
    assert len({ds.StudyInstanceUID for ds in files}) == 10
    assert len({(ds.StudyInstanceUID, ds.PatientID) for ds in files}) == 10


def test_studies_of_files_are_new_ones(site: Site, tmp_path: Path) -> None:
    sent = [slice_(n, PatientBirthDate="19700101") for n in (1, 2)]
    sent[1].ReferencedImageSequence = [pydicom.Dataset()]
    sent[1].ReferencedImageSequence[0].ReferencedSOPClassUID = sent[0].SOPClassUID
    sent[1].ReferencedImageSequence[0].ReferencedSOPInstanceUID = sent[0].SOPInstanceUID
    for number, ds in enumerate(sent):
        write(ds, tmp_path / f"{number}.dcm")
    to = f"AI@127.0.0.1:{site.ports['dicom']}"
    before = set(kept(site, "AI"))
    for _ in range(2):
        # The seed does not make the UIDs: a second run is other studies.
        body = load(site, "studies", to, tmp_path, "--calling", "CT1", "-n", 2)
        assert (body["generated"], body["failures"]) == (2, 0)
    arrived = site.wait(lambda: len(n := set(kept(site, "AI")) - before) == 8 and n)
    files = {uid: pydicom.dcmread(kept(site, "AI")[uid].file) for uid in arrived}
    assert not arrived & {ds.SOPInstanceUID for ds in sent}
    assert len({ds.StudyInstanceUID for ds in files.values()}) == 4
    for ds in files.values():
        assert ds.PatientID.startswith("LOAD-")
        assert "PatientBirthDate" not in ds
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        if "ReferencedImageSequence" in ds:
            item = ds.ReferencedImageSequence[0]
            assert item.ReferencedSOPClassUID == sent[0].SOPClassUID
            other = files[item.ReferencedSOPInstanceUID]
            assert other.StudyInstanceUID == ds.StudyInstanceUID
            assert other.PixelData == sent[0].PixelData


def test_refused_studies_are_failures(site: Site) -> None:
    to = f"AI@127.0.0.1:{site.ports['dicom']}"
    body = load(site, "studies", to, "--calling", "STRANGER", "-n", 2, "--instances", 1, code=1)
    assert body["failures"] == 2
    assert "calling AE title not recognized" in body["errors"][0]["reason"]


def test_identities_hold_references_together() -> None:
    one, other = Identity("run", 1), Identity("run", 2)
    assert one.uid("1.2.3") == Identity("run", 1).uid("1.2.3") != other.uid("1.2.3")
    assert len(one.uid("1.2.3")) <= 64
