"""chest-xray and base-inference in containers, asking a Triton that is a container, too."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support.dicom import slice_
from tests.support.inference import CHEST, MODELS, SEED_MODEL, make_repository, seed_config
from tests.support.operator_images import build, make_operator_images
from tests.support.orthanc import running_orthanc
from tests.support.podman import Podman
from tests.support.radiographs import dataset, draw, matches, save
from tests.support.reference import shipped_pipeline
from tests.support.site import Site, application, rule, write
from tests.support.triton_image import make_triton_image

pytestmark = [pytest.mark.peers, pytest.mark.prove]

LIVER = "localhost/hospital/liver"
COUNT = 48


@pytest.fixture(scope="module")
def shipped(podman: Podman) -> Iterator[Podman]:
    make_operator_images(podman)
    make_triton_image(podman)
    config = "/app/app_base_inference/config/"
    files = {
        "config/config_inference.json": json.dumps(seed_config(8000)),
        "config/model_config.json": json.dumps(SEED_MODEL),
    }
    base = "localhost/gateway/base-inference"
    build(podman, f"FROM {base}\nCOPY config/ {config}\n", LIVER, files)
    yield podman
    assert podman.api.containers(all=True) == []


def settings(podman: Podman, **more: Any) -> dict[str, Any]:
    return {
        "executor": "container",
        "container": {"socket": str(podman.socket), "pull": "never"},
        "resources": {"cpu": 4, "memory-mb": 12288, "missing-gpu": "cpu"},
    } | more


def finished(site: Site, name: str) -> dict[str, Any]:
    """The one job, healthy; its folder of operators."""
    site.wait(lambda: [j["state"] for j in site.items("jobs")] == ["STOPPED"], 300)
    (job,) = site.items("jobs")
    log = site.cli("logs", "job", job["id"]).stdout
    assert (job["status"], job["reason"]) == ("HEALTHY", None), log
    (service,) = site.items("services")
    assert (service["state"], service["restarts"]) == ("READY", 0)
    began, ended = (datetime.fromisoformat(job[k]) for k in ("started_at", "stopped_at"))
    print(f"{name} in containers: {(ended - began).total_seconds():.0f} s")  # noqa: T201
    return job


def test_prove_triton_chest_xray_in_containers(shipped: Podman, tmp_path: Path) -> None:
    drawn = draw(1001, ("nodule", "opacity"))
    instance = dataset(drawn, bits=14, inverted=True)
    common = tmp_path / "common"
    shutil.copytree(MODELS / CHEST, common / "models" / CHEST)
    with running_orthanc(tmp_path) as orthanc:
        pacs = {"name": "PACS", "ae-title": orthanc.aet, "host": "127.0.0.1", "port": orthanc.port}
        site = Site(
            tmp_path / "site",
            pipelines=[shipped_pipeline("chestxray")],
            applications=[application(rule(pipeline="chestxray"))],
            destinations=[pacs],
            settings=settings(shipped, **{"common-dir": str(common)}),
        )
        site.start()
        try:
            site.send([save(tmp_path / "sent", instance)])
            job = finished(site, "chest-xray")
            folder = site.data / "payloads" / job["payload_id"] / "operators" / "ai-app-chestxray"
            (table,) = folder.rglob("findings.json")
            (image,) = json.loads(table.read_text())["images"]
            assert matches(drawn, image["findings"]) == (2, 0)
            site.wait(site.settled, 120)
            (identifier,) = orthanc.get("/instances")
            report = dcmread(io.BytesIO(orthanc.file(identifier)))
            assert report.Modality == "SR"
            assert report.StudyInstanceUID == instance.StudyInstanceUID
            assert report.PatientID == instance.PatientID
        finally:
            site.stop()


def liver() -> dict[str, Any]:
    """The pipeline of the how-to: the model is served by the gateway's own Triton."""
    volume = {"name": "volume", "type": "stream", "element-type": "nifti"}
    return {
        "api-version": "0.6.0",
        "name": "liver",
        "operators": [
            {
                "name": "dicom-reader",
                "container": {"image": "gateway/dicom-reader"},
                "input": [{"name": "dcm", "type": "stream", "element-type": "dicom", "path": "/i"}],
                "output": [{**volume, "path": "/output"}],
            },
            {
                "name": "liver",
                "container": {"image": LIVER},
                "models": [{"name": "segmentation_liver_v1"}],
                "requests": {"memory": 2048},
                "input": [{**volume, "from": "dicom-reader", "path": "/input"}],
                "output": [{**volume, "name": "labels", "path": "/output"}],
            },
        ],
    }


def boxes(folder: Path) -> list[Path]:
    """A CT series with a box of 84 HU and one of 189 HU, -100 HU around them."""
    hu = np.full((COUNT, 64, 64), -100, np.int16)
    hu[6:26, 8:30, 8:30] = 84
    hu[22:42, 34:58, 34:58] = 189
    common = {"Rows": 64, "Columns": 64, "PixelSpacing": [0.9, 0.9], "SliceThickness": 1.5}
    common |= {"RescaleSlope": 1, "RescaleIntercept": 0, "FrameOfReferenceUID": generate_uid()}
    common |= {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    return [
        write(
            slice_(
                number + 1, PixelData=plane.tobytes(),
                ImagePositionPatient=[0, 0, number * 1.5], **common,
            ),
            folder / f"{number}.dcm",
        )
        for number, plane in enumerate(hu)
    ]  # fmt: skip


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_prove_triton_base_inference_in_containers(shipped: Podman, tmp_path: Path) -> None:
    site = Site(
        tmp_path / "site",
        pipelines=[liver()],
        applications=[application(rule(pipeline="liver", destinations=[]))],
        destinations=[{"name": "PACS", "folder": str(tmp_path / "out")}],
        settings=settings(shipped),
    )
    make_repository(site.root / "models")
    site.start()
    try:
        site.send(boxes(tmp_path / "ct"))
        job = finished(site, "base-inference")
        folder = site.data / "payloads" / job["payload_id"] / "operators"
        (volume,) = folder.joinpath("dicom-reader").rglob("*.nii.gz")
        (labels,) = folder.joinpath("liver").rglob("*.nii.gz")
        hu = np.asarray(nibabel.load(volume).dataobj)
        found = np.asarray(nibabel.load(labels).dataobj)
        assert found.shape == hu.shape == (64, 64, COUNT)
        # Linear resampling passes the darker one's values at the border of the brighter one.
        scores = [dice(found == n, hu == value) for n, value in ((1, 84), (2, 189))]
        print(f"Dice of both boxes {scores[0]:.3f}, {scores[1]:.3f}")  # noqa: T201
        assert min(scores) > 0.85
        (service,) = site.items("services")
        assert service["models"] == ["segmentation_liver_v1"]
    finally:
        site.stop()
