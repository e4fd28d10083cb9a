"""The reference pipelines at a real gateway, on the process executor: data in, result out."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.abdomen import Abdomen, write_abdomen
from tests.support.orthanc import running_orthanc
from tests.support.programs import program
from tests.support.reference import (
    assemble_by_hand,
    check_assembly,
    check_organs,
    one_segmentation,
    reference_site,
)

pytestmark = pytest.mark.peers


def test_multi_ai_brings_the_organs_back_to_the_pacs(tmp_path: Path) -> None:
    series = write_abdomen(tmp_path / "ct", Abdomen(matrix=112, slices=36, position="FFS"))
    with running_orthanc(tmp_path) as orthanc:
        site = reference_site(tmp_path / "site", orthanc)
        site.start()
        try:
            sent = site.send(series.files)
            assert {s.status for s in sent} == {0}
            site.wait(lambda: site.items("results") and site.settled(), 150)
            (job,) = site.items("jobs")
            assert (job["status"], job["attempt"], job["reason"]) == ("HEALTHY", 1, None)
            (result,) = site.items("results")
            assert result["state"] == "DELIVERED"
            check_organs(one_segmentation(orthanc), series)
        finally:
            assert site.stop() == 0


def test_denovo_assembly_makes_one_contig_of_uploaded_reads(tmp_path: Path) -> None:
    for name in ("minimap2", "miniasm", "racon"):
        program(name)
    site = reference_site(tmp_path / "site", None)
    site.start()
    try:
        out = assemble_by_hand(site, tmp_path, "MAPPER_ADDITIONAL_PARAMS=-n 3")
        check_assembly(out, tmp_path / "sample" / "genome.fasta")
    finally:
        assert site.stop() == 0
