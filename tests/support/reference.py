"""The pipelines of the repository at a site, and how their results are looked at."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

from gateway.demo.abdomen import AbdomenSeries
from gateway.demo.long_reads import Sequencing, write_sample
from tests.support import organs
from tests.support.orthanc import OrthancPeer
from tests.support.programs import program
from tests.support.site import Site, application, rule

ROOT = Path(__file__).resolve().parents[2]
SMALL_GENOME = Sequencing(genome=50_000, coverage=22)


def shipped_pipeline(name: str) -> dict[str, Any]:
    """A definition of the repository."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "pipelines" / f"{name}.yaml").read_text())
    return found


def reference_site(
    root: Path, orthanc: OrthancPeer | None, settings: Mapping[str, Any] | None = None
) -> Site:
    """A gateway with multi-ai behind its AE title, and denovo-assembly for jobs by hand."""
    pacs = []
    if orthanc is not None:
        pacs = [
            {"name": "PACS", "ae-title": orthanc.aet, "host": "127.0.0.1", "port": orthanc.port}
        ]
    return Site(
        root,
        pipelines=[shipped_pipeline("multi-ai"), shipped_pipeline("denovo-assembly")],
        applications=[application(rule(pipeline="multi-ai"))],
        destinations=pacs or [{"name": "PACS", "folder": str(root / "out")}],
        settings={"resources": {"cpu": 8, "memory-mb": 16384}} | dict(settings or {}),
    )


def one_segmentation(orthanc: OrthancPeer) -> Dataset:
    """The one SEG that a PACS holds."""
    found = []
    for identifier in orthanc.get("/instances"):
        dataset = dcmread(io.BytesIO(orthanc.file(identifier)))
        found += [dataset] if dataset.Modality == "SEG" else []
    assert len(found) == 1
    return found[0]


def check_organs(seg: Dataset, series: AbdomenSeries) -> None:
    """Every organ with a Dice of 0.9 at least, and none on the wrong side."""
    labels = organs.seg_labels(seg, series)
    scores = organs.overlaps(series.labels, labels)
    assert min(scores.values()) >= 0.9, scores
    for organ in ("spleen", "right-kidney", "left-kidney"):
        assert organs.wrong_side(series, labels, organ) == 0.0


def assemble_by_hand(site: Site, folder: Path, *variables: str) -> Path:
    """Simulate reads, upload them into a job, start it, download; gives what racon wrote.

    As a client of Clara does it: create, upload, start, download.
    """
    sample = write_sample(folder / "sample", SMALL_GENOME)
    # The truth must not lie among the reads.
    reads = folder / "reads"
    reads.mkdir()
    sample.reads.rename(reads / sample.reads.name)
    job, payload = create_job(site)
    done = site.cli("upload", "payload", payload, str(reads))
    assert done.returncode == 0, done.stderr
    start = [word for variable in variables for word in ("--variable", variable)]
    done = site.cli("start", "job", job, *start)
    assert done.returncode == 0, done.stderr
    told = site.wait(lambda: _stopped(site, job), 240)
    logs = "" if told["status"] == "HEALTHY" else site.cli("logs", "job", job).stdout
    assert told["status"] == "HEALTHY", (told["reason"], logs)
    done = site.cli("download", "payload", payload, "/operators/racon/*", "--to", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / "operators" / "racon" / job


def create_job(site: Site) -> tuple[str, str]:
    """A job of denovo-assembly that waits for its input: its id and its payload's."""
    done = site.cli("create", "job", "-n", "assembly", "-p", "denovo-assembly", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return str(told["job_id"]), str(told["payload_id"])


def _stopped(site: Site, job: str) -> dict[str, Any] | None:
    """A job once it has stopped."""
    found = [j for j in site.items("jobs") if j["id"] == job and j["state"] == "STOPPED"]
    return found[0] if found else None


def check_assembly(folder: Path, genome: Path) -> tuple[float, float]:
    """One contig of 95 % of the genome at least, 99 % alike; gives both shares.

    Identity counts every base that differs, is missing or too many (matches / alignment length).
    """
    summary = json.loads((folder / "assembly.json").read_text())
    (contig,) = summary["contigs"]
    assert contig["length"] == summary["total"]
    polished = folder / "polished_assembly.fa"
    command = [program("minimap2"), "-c", "-x", "asm5", str(genome), str(polished)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    (line,) = [fields for fields in lines if "tp:A:P" in fields]
    size, start, end, matches, length = (int(line[n]) for n in (6, 7, 8, 9, 10))
    covered, identity = (end - start) / size, matches / length
    assert covered >= 0.95, line[:12]
    assert identity >= 0.99, line[:12]
    return covered, identity
