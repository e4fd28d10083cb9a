"""The reference pipelines in containers of a real Podman, from images built here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from gateway.demo.abdomen import Abdomen, write_abdomen
from gateway.demo.phantom import Identity, Options, write_series
from tests.support.operator_images import make_operator_images
from tests.support.orthanc import running_orthanc
from tests.support.podman import Podman
from tests.support.reference import (
    assemble_by_hand,
    check_assembly,
    check_organs,
    one_segmentation,
    reference_site,
    shipped_pipeline,
)
from tests.support.site import Site, application, rule

pytestmark = [pytest.mark.peers, pytest.mark.prove]


@pytest.fixture(scope="module")
def shipped(podman: Podman) -> Podman:
    make_operator_images(podman)
    return podman


def settings(podman: Podman) -> dict[str, Any]:
    return {"executor": "container", "container": {"socket": str(podman.socket), "pull": "never"}}


def test_prove_reference_multi_ai_in_containers(shipped: Podman, tmp_path: Path) -> None:
    series = write_abdomen(tmp_path / "ct", Abdomen(matrix=112, slices=36, position="FFS"))
    with running_orthanc(tmp_path) as orthanc:
        site = reference_site(tmp_path / "site", orthanc, settings(shipped))
        site.start()
        try:
            site.send(series.files)
            site.wait(lambda: site.items("jobs") and site.settled(), 300)
            (job,) = site.items("jobs")
            log = site.cli("logs", "job", job["id"]).stdout
            assert (job["status"], job["reason"]) == ("HEALTHY", None), log
            check_organs(one_segmentation(orthanc), series)
            assert shipped.api.containers(all=True) == []
        finally:
            site.stop()


def test_prove_reference_lung_density_in_containers(shipped: Podman, tmp_path: Path) -> None:
    series = write_series(tmp_path / "ct", Options(slices=60, matrix=128))
    with running_orthanc(tmp_path) as orthanc:
        pacs = {"name": "PACS", "ae-title": orthanc.aet, "host": "127.0.0.1", "port": orthanc.port}
        site = Site(
            tmp_path / "site",
            pipelines=[shipped_pipeline("lung-density")],
            applications=[application(rule(pipeline="lung-density"))],
            destinations=[pacs],
            settings=settings(shipped),
        )
        site.start()
        try:
            site.send(series.files)
            site.wait(lambda: site.items("jobs") and site.settled(), 300)
            (job,) = site.items("jobs")
            log = site.cli("logs", "job", job["id"]).stdout
            assert (job["status"], job["reason"]) == ("HEALTHY", None), log
            (measured,) = (site.data / "payloads" / job["payload_id"]).rglob("measurements.json")
            found = json.loads(measured.read_text())["lungs"]
            for side, truth in series.truth.items():
                assert found[side]["volume_ml"] == pytest.approx(truth.volume_ml, rel=0.02), side
            made = [dcmread(io.BytesIO(orthanc.file(i))) for i in orthanc.get("/instances")]
            assert {"SEG", "SR"} < {dataset.Modality for dataset in made}
            assert {dataset.StudyInstanceUID for dataset in made} == {series.study_uid}
            assert {dataset.PatientID for dataset in made} == {Identity().patient_id}
        finally:
            site.stop()


def test_prove_reference_assembly_in_containers(shipped: Podman, tmp_path: Path) -> None:
    site = reference_site(tmp_path / "site", None, settings(shipped))
    site.start()
    try:
        out = assemble_by_hand(site, tmp_path)
        covered, identity = check_assembly(out, tmp_path / "sample" / "genome.fasta")
        print(f"one contig, {covered:.2%} of the genome, {identity:.3%} alike")  # noqa: T201
        assert shipped.api.containers(all=True) == []
    finally:
        site.stop()
