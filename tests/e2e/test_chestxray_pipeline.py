"""The chest X-ray pipeline as shipped: C-STORE in, a Triton service asked, a report in the PACS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.support import triton
from tests.support.inference import CHEST, MODELS
from tests.support.programs import program
from tests.support.radiographs import dataset, draw, matches, save
from tests.support.reference import shipped_pipeline
from tests.support.site import Site, application, rule

pytestmark = pytest.mark.peers


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    program("bwrap")
    made = Site(
        tmp_path / "site",
        pipelines=[shipped_pipeline("chestxray")],
        applications=[application(rule(pipeline="chestxray"))],
        destinations=[{"name": "PACS", "folder": str(tmp_path / "pacs")}],
        settings={
            "images": triton.images(),
            "resources": {"cpu": 4, "memory-mb": 8192},
            "common-dir": str(tmp_path / "common"),
        },
    )
    shutil.copytree(
        MODELS / CHEST,
        tmp_path / "common" / "models" / CHEST,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "pacs").mkdir()
    made.start()
    yield made
    made.stop()


def test_a_radiograph_comes_back_as_a_report(site: Site, tmp_path: Path) -> None:
    drawn = draw(1001, ("nodule", "opacity"))
    instance = dataset(drawn, bits=14, inverted=True)
    site.send([save(tmp_path / "sent", instance)])
    job = site.wait(lambda: [j for j in site.items("jobs") if j["state"] == "STOPPED"], 150)[0]
    assert job["status"] == "HEALTHY", job
    folder = site.data / "payloads" / job["payload_id"] / "operators" / "ai-app-chestxray"
    record = json.loads((folder / "results" / "findings.json").read_text())
    (image,) = record["images"]
    assert matches(drawn, image["findings"]) == (2, 0)
    arrived = site.wait(lambda: list((tmp_path / "pacs").rglob("*.dcm")), 60)
    report = dcmread(arrived[0])
    assert report.Modality == "SR"
    assert report.StudyInstanceUID == instance.StudyInstanceUID
    assert report.PatientID == instance.PatientID
