"""A real chest CT, sent by DCMTK, comes back to Orthanc as SEG, SR and SC by the shipped files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.demo.measurements import measurements
from tests.support.dcmtk import storescu
from tests.support.lungs import dciodvfy_errors
from tests.support.orthanc import OrthancPeer, running_orthanc
from tests.support.programs import program
from tests.support.site import Site

ROOT = Path(__file__).resolve().parents[2]
ATTENUATION = "112031"
"""Attenuation Coefficient (PS3.16 Annex D); the report gives its mean per lung."""
pytestmark = [pytest.mark.peers, pytest.mark.data, pytest.mark.slow]


@dataclass(frozen=True)
class Returned:
    """The sent CT and what the PACS has of its study."""

    sent: list[Dataset]
    files: dict[str, list[Path]]
    """By modality, as Orthanc gives them."""
    orthanc: OrthancPeer

    def one(self, modality: str) -> Dataset:
        (file,) = self.files[modality]
        return dcmread(file)


@pytest.fixture(scope="module")
def returned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Returned]:
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(data / "ct-chest-8mm" / "ct-thorax-8mm.tar.gz") as tar:
        tar.extractall(folder / "ct", filter="data")
    files = sorted(f for f in (folder / "ct").rglob("*") if f.is_file())
    with running_orthanc(folder) as orthanc:
        site = shipped(folder / "site", orthanc)
        site.start()
        try:
            # The PACS has the study already, as in a hospital.
            for port, called in ((orthanc.port, orthanc.aet), (site.ports["dicom"], "LUNG_CT")):
                sent = storescu([folder / "ct"], port, called, "CT1")
                assert sent.returncode == 0, sent.stderr
            results = site.wait(lambda: site.settled() and site.items("results"), seconds=150)
            assert [r["state"] for r in results] == ["DELIVERED"]
            fetched = fetch(orthanc, folder / "fetched")
            yield Returned([dcmread(f) for f in files], fetched, orthanc)
        finally:
            assert site.stop() == 0


def shipped(root: Path, orthanc: OrthancPeer) -> Site:
    """A gateway with the pipeline and the AE file of the repository; only the ports are ours."""
    config = yaml.safe_load((ROOT / "ae_config" / "lung-ct.yaml").read_text())
    assert config["destinations"][0]["ae-title"] == orthanc.aet
    config["destinations"][0]["port"] = orthanc.port
    config["applications"][0]["complete-when"]["quiet-seconds"] = 1
    definition = yaml.safe_load((ROOT / "pipelines" / "lung-density.yaml").read_text())
    site = Site(root, pipelines=[definition], settings={"resources": {"cpu": 2}})
    site.configure(**config)
    return site


def fetch(orthanc: OrthancPeer, folder: Path) -> dict[str, list[Path]]:
    folder.mkdir()
    found: dict[str, list[Path]] = {}
    for identifier in orthanc.get("/instances"):
        content = orthanc.file(identifier)
        modality = str(dcmread(io.BytesIO(content), specific_tags=["Modality"]).Modality)
        path = folder / f"{identifier}.dcm"
        path.write_bytes(content)
        found.setdefault(modality, []).append(path)
    return found


def test_orthanc_lists_everything_in_one_study(returned: Returned) -> None:
    (study,) = returned.orthanc.get("/studies")
    found = returned.orthanc.get(f"/studies/{study}/series")
    by_modality = {s["MainDicomTags"]["Modality"]: len(s["Instances"]) for s in found}
    assert set(by_modality) == {"CT", "SEG", "SR", "OT"}
    assert (by_modality["CT"], by_modality["SEG"], by_modality["SR"]) == (30, 1, 1)
    assert by_modality["OT"] >= 1
    first = returned.sent[0]
    for modality in ("SEG", "SR", "OT"):
        for file in returned.files[modality]:
            ds = dcmread(file, stop_before_pixels=True)
            assert ds.StudyInstanceUID == first.StudyInstanceUID
            assert ds.PatientID == first.PatientID
            assert ds.SeriesInstanceUID != first.SeriesInstanceUID


def test_dciodvfy_finds_no_error(returned: Returned) -> None:
    dciodvfy = program("dciodvfy")
    for modality in ("SEG", "SR", "OT"):
        for file in returned.files[modality]:
            assert dciodvfy_errors(dciodvfy, file) == [], modality


def test_each_lung_lies_on_its_side(returned: Returned) -> None:
    seg = returned.one("SEG")
    right, left = centroid(seg, "right"), centroid(seg, "left")
    # Patient coordinates grow to the left (PS3.3 C.7.6.2.1.1).  The lungs of this person lie
    # astride the middle of the images, tens of millimetres apart.
    assert right < middle(returned.sent[0]) < left
    assert 80 < left - right < 250


def middle(ct: Dataset) -> float:
    """Patient x of the middle column of an unrotated axial slice, in mm."""
    return float(ct.ImagePositionPatient[0] + ct.PixelSpacing[1] * (ct.Columns - 1) / 2)


def centroid(seg: Dataset, side: str) -> float:
    """Patient x of the centroid of the lung whose label names ``side``, in mm."""
    (number,) = [
        s.SegmentNumber
        for s in seg.SegmentSequence
        if side in s.SegmentLabel.lower() and "lung" in s.SegmentLabel.lower()
    ]
    shared = seg.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    across = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    frames = seg.pixel_array
    total = weight = 0.0
    for pixels, frame in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        rows, columns = np.nonzero(pixels)
        at = frame.PlanePositionSequence[0].ImagePositionPatient[0]
        xs = at + across[0] * spacing[1] * columns + across[3] * spacing[0] * rows
        total += float(xs.sum())
        weight += len(xs)
    assert weight > 0
    return total / weight


def test_the_density_is_that_of_lungs(returned: Returned) -> None:
    found = [m for m in measurements(returned.one("SR")) if m.unit == "[hnsf'U]"]
    means = {m.site or "Both": m.value for m in found if m.code == ATTENUATION}
    assert {"Right", "Left"} <= set(means)
    assert all(-920 < value < -650 for value in means.values()), means
