"""A full disk refuses images with A700, loses nothing, and is over once there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.dicom.files import read_instance
from gateway.dicom.peer import Peer
from gateway.dicom.scu import echo
from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.evidence import kept
from tests.support.site import (
    Site,
    application,
    deriving,
    operator,
    pipeline,
    register,
    rule,
    write,
)

MB = 1 << 20
DISK_MB = 256
FULL = 0xA700

FILLS = """
print("filling", flush=True)
with open("/output/big", "wb", buffering=0) as file:
    while True:
        file.write(bytes(1 << 18))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_MB}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


def filled(disk: Path, leave: int = 0) -> Path:
    """A file that takes all room but ``leave`` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MB))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return ballast


def images(folder: Path, count: int, size: int = MB, **changes: Any) -> list[Path]:
    pixels = {"PixelData": bytes(size), "Rows": 512, "Columns": size // 1024}
    return [write(slice_(n, **pixels, **changes), folder / f"{n}.dcm") for n in range(count)]


def test_images_are_refused_until_there_is_room(
    disk: Path, pacs: CountingPacs, tmp_path: Path
) -> None:
    site = Site(
        tmp_path / "site",
        destinations=[pacs.destination()],
        settings={"data-dir": str(disk / "data")},
    )
    site.data = disk / "data"
    site.start()
    try:
        # Longer than what goes into the log of the intake: these need room of their own.
        files = images(tmp_path / "ct", 8, 2 * MB)
        # The log is made when the receiver starts: its room must be taken before the rest is.
        echo(Peer("AI", "127.0.0.1", site.ports["dicom"], "CT1"))
        site.wait(lambda: site.items("associations", state="RELEASED"))
        ballast = filled(disk, leave=7 * MB)
        first = site.send(files)
        assert {s.status for s in first} == {0, FULL}, first
        refused = next(s for s in first if s.status == FULL)
        assert "space" in refused.comment.lower()
        acknowledged = {s.sop_instance_uid for s in first if s.status == 0}
        # Not even room for a record: what is acknowledged now lies in the log made before.
        ballast.unlink()
        filled(disk)
        tiny = write(slice_(99), tmp_path / "tiny.dcm")
        answers = site.send([tiny])
        assert {s.status for s in answers} <= {0, FULL}
        acknowledged |= {s.sop_instance_uid for s in answers if s.status == 0}
        assert site.send(files[-1:])[0].status == FULL
        assert not site.dead
        assert site.http is not None
        assert site.http.get("/health").json()["parts"]["disk"]["status"] == "down"

        # What was acknowledged is there, whole; of the rest nothing is left.
        ballast.unlink()
        site.wait(lambda: set(kept(site, "AI")) == acknowledged)
        check_stored(site, acknowledged, [*files, tiny])
        site.wait(lambda: not site.items("associations", state="OPEN"))
        site.wait(lambda: not list((site.data / "incoming").iterdir()))
        assert site.wait(lambda: all(s.status == 0 for s in site.send([*files, tiny])))
        site.wait(lambda: len(kept(site, "AI")) == len(files) + 1)
        check_stored(site, {read_instance(f).sop_instance_uid for f in [*files, tiny]}, files)
        site.wait(lambda: site.items("results") and site.settled())
        newest = max(site.items("jobs"), key=lambda job: job["revision"])
        assert newest["status"] == "HEALTHY"
        (payload,) = site.items("payloads")
        assert payload["instances"] == len(files) + 1
    finally:
        assert site.stop() == 0


def check_stored(site: Site, uids: set[str], files: list[Path]) -> None:
    found = kept(site, "AI")
    assert set(found) == uids
    for file in files:
        instance = read_instance(file)
        if instance.sop_instance_uid in uids:
            here = found[instance.sop_instance_uid].file
            assert (
                here.read_bytes()[read_instance(here).offset :]
                == file.read_bytes()[instance.offset :]
            )


def test_an_operator_that_fills_the_disk(disk: Path, pacs: CountingPacs, tmp_path: Path) -> None:
    site = Site(
        tmp_path / "site",
        applications=[
            application(rule(pipeline="fills"), **{"ae-title": "FILLS"}),
            application(rule()),
        ],
        pipelines=[pipeline("fills", operator("bad", FILLS), register("bad")), deriving()],
        destinations=[pacs.destination()],
        settings={"data-dir": str(disk / "data")},
    )
    site.data = disk / "data"
    site.start()
    try:
        other = {"StudyInstanceUID": "1.9", "SeriesInstanceUID": "1.9.1"}
        assert site.send(images(tmp_path / "fills", 1, 1024, **other), "FILLS")[0].status == 0
        job = site.wait(lambda: site.items("jobs", called_ae="FILLS", state="STOPPED"))[0]
        assert job["status"] == "FAULTED"
        assert "disk" in job["reason"]
        assert "full" in job["reason"]
        assert "filling" in site.cli("describe", "job", job["id"]).stdout
        assert len(kept(site, "FILLS")) == 1
        # The house is not full for ever: the next study is served.
        sent = site.wait(
            lambda: (s := site.send(images(tmp_path / "ct", 1, 1024))) and s[0].status == 0 and s
        )
        assert sent
        site.wait(lambda: site.items("results", state="DELIVERED"))
    finally:
        assert site.stop() == 0


def test_the_watermark_refuses_before_the_disk_is_full(
    disk: Path, pacs: CountingPacs, tmp_path: Path
) -> None:
    site = Site(
        tmp_path / "site",
        destinations=[pacs.destination()],
        settings={
            "data-dir": str(disk / "data"),
            "storage": {"watermark-percent": 50, "reserve-gb": 0},
        },
    )
    site.data = disk / "data"
    site.start()
    try:
        ballast = filled(disk, leave=DISK_MB * MB // 3)
        (file,) = images(tmp_path / "ct", 1)
        sent = site.wait(
            lambda: (s := site.send([file]))[0].status == FULL and s  # measured once a second
        )
        assert "watermark 50 %" in sent[0].comment
        assert site.http is not None
        part = site.http.get("/health").json()["parts"]["disk"]
        assert (part["status"], part["accepts_images"]) == ("degraded", False)
        assert "no room" in (site.root / "gateway.log").read_text()
        ballast.unlink()
        site.wait(lambda: site.send([file])[0].status == 0)
        site.wait(lambda: site.items("results", state="DELIVERED"))
    finally:
        assert site.stop() == 0


def test_a_gateway_on_a_full_disk_stops_and_goes_on_later(
    disk: Path, pacs: CountingPacs, tmp_path: Path
) -> None:
    site = Site(
        tmp_path / "site",
        destinations=[pacs.destination()],
        settings={"data-dir": str(disk / "data")},
    )
    site.data = disk / "data"
    site.start()
    try:
        ballast = filled(disk)
        answers = site.send([write(slice_(n), tmp_path / f"{n}.dcm") for n in range(3)])
        acknowledged = {s.sop_instance_uid for s in answers if s.status == 0}
        assert site.stop() == 0
        ballast.unlink()
        site.start()
        assert set(kept(site, "AI")) == acknowledged
        if acknowledged:
            site.wait(lambda: site.items("results", state="DELIVERED"))
    finally:
        assert site.stop() == 0
