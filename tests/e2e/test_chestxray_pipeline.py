"""The chest X-ray pipeline as shipped: C-STORE in, a Triton service asked, a report in the PACS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread

from tests.support import triton
from tests.support.inference import CHEST, MODELS
from tests.support.programs import program
from tests.support.radiographs import dataset, draw, matches, save
from tests.support.reference import shipped_pipeline
from tests.support.site import Site, application, rule

pytestmark = pytest.mark.peers
SEEDS = "chestxray-pipeline"
SEED = """
api-version: 0.4.0
name: chestxray-pipeline
operators:
  - name: ai-app-chestxray
    description: Classifying Chest X-ray Images
    container:
      image: clara/ai-chestxray
      tag: latest
    requests:
      gpu: 1
    input:
    - path: /input
    output:
    - path: /output
    services:
    - name: trtis
      container:
        image: nvcr.io/nvidia/tensorrtserver
        tag: 19.08-py3
        command: ["trtserver", "--model-store=$(NVIDIA_CLARA_SERVICE_DATA_PATH)/models"]
      connections:
        http:
        - name: NVIDIA_CLARA_TRTISURI
          port: 8000
"""
"""Clara's own definition, as the seed quotes it."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    program("bwrap")
    made = Site(
        tmp_path / "site",
        pipelines=[shipped_pipeline("chestxray"), yaml.safe_load(SEED)],
        applications=[
            application(rule(pipeline="chestxray"), rule("seed", pipeline=SEEDS, destinations=[]))
        ],
        destinations=[{"name": "PACS", "folder": str(tmp_path / "pacs")}],
        settings={
            "images": triton.images(),
            "resources": {"cpu": 4, "memory-mb": 8192, "missing-gpu": "cpu"},
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
    site.wait(lambda: [j["state"] for j in site.items("jobs")] == ["STOPPED"] * 2, 150)
    for job in site.items("jobs"):
        assert job["status"] == "HEALTHY", job
        folder = site.data / "payloads" / job["payload_id"] / "operators" / "ai-app-chestxray"
        (table,) = folder.rglob("findings.json")
        (image,) = json.loads(table.read_text())["images"]
        assert matches(drawn, image["findings"]) == (2, 0)
    arrived = site.wait(lambda: list((tmp_path / "pacs").rglob("*.dcm")), 60)
    report = dcmread(arrived[0])
    assert report.Modality == "SR"
    assert report.StudyInstanceUID == instance.StudyInstanceUID
    assert report.PatientID == instance.PatientID
