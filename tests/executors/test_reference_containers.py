"""The reference pipelines in containers of a real Podman, from images built here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.demo.abdomen import Abdomen, write_abdomen
from tests.support.operator_images import make_operator_images
from tests.support.orthanc import running_orthanc
from tests.support.podman import Podman
from tests.support.reference import (
    assemble_by_hand,
    check_assembly,
    check_organs,
    one_segmentation,
    reference_site,
)

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
