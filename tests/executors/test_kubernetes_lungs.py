"""lung-density and multi-ai on a real kubelet, from the image to the PACS."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from gateway.demo.abdomen import Abdomen, write_abdomen
from gateway.demo.phantom import Options, write_series
from tests.support.kube import Kube
from tests.support.operator_images import operator_files
from tests.support.orthanc import OrthancPeer, running_orthanc
from tests.support.podman import archive, python_changes
from tests.support.reference import check_organs, one_segmentation, shipped_pipeline
from tests.support.site import Site, application, rule

pytestmark = [pytest.mark.peers, pytest.mark.prove]

IMAGE = "docker.io/gateway/operators:1"


@pytest.fixture(scope="module")
def shipped(kube: Kube) -> Kube:
    """A node that has the operators that ship."""
    changes = dict(line.removeprefix("ENV ").split("=", 1) for line in python_changes())
    packages = changes["PYTHONPATH"]
    files = dict(operator_files(packages, "SimpleITK"))
    kube.load_layer(IMAGE, archive(files), Env=[f"{k}={v}" for k, v in changes.items()])
    return kube


def definition(name: str) -> dict[str, Any]:
    """A pipeline of the repository, whose operators are all in one image."""
    found = shipped_pipeline(name)
    for operator in found["operators"]:
        told = operator["container"]
        module = told["image"].rpartition("/")[2].replace("-", "_")
        told |= {"image": "gateway/operators", "tag": "1"}
        told.setdefault("command", ["python", "-m", f"gateway.operators.{module}"])
        # The node is as small as this machine.
        operator["requests"]["cpu"] = 0.2
    return found


def run(
    kube: Kube, waiter: Path, folder: Path, orthanc: OrthancPeer, name: str, files: Any
) -> Mapping[str, Any]:
    """Send a series through a pipeline on the cluster, to the PACS; the job."""
    pacs = {"name": "PACS", "ae-title": orthanc.aet, "host": "127.0.0.1", "port": orthanc.port}
    site = Site(
        folder / "site",
        pipelines=[definition(name)],
        applications=[application(rule(pipeline=name))],
        destinations=[pacs],
        settings={
            "executor": "kubernetes",
            "kubernetes": {
                "kubeconfig": str(kube.kubeconfig),
                "host-path": str(folder / "site" / "data"),
                "waiter": str(waiter),
                "pull": "never",
            },
        },
    )
    site.start()
    try:
        site.send(files)
        site.wait(lambda: site.items("jobs") and site.settled(), 500)
        (job,) = site.items("jobs")
        log = site.cli("logs", "job", job["id"]).stdout
        assert (job["status"], job["reason"]) == ("HEALTHY", None), log
        assert kube.pods(f"gateway/job={job['id']}") == []
        began, ended = (datetime.fromisoformat(job[k]) for k in ("started_at", "stopped_at"))
        seconds = (ended - began).total_seconds()
        print(f"{name} on a kubelet, images there: {seconds:.0f} s")  # noqa: T201
        return dict(job)
    finally:
        site.stop()


def test_prove_kubernetes_lung_density(shipped: Kube, waiter_program: Path, tmp_path: Path) -> None:
    series = write_series(tmp_path / "ct", Options(slices=60, matrix=192))
    with running_orthanc(tmp_path) as orthanc:
        run(shipped, waiter_program, tmp_path, orthanc, "lung-density", series.files)
        read = (dcmread(io.BytesIO(orthanc.file(i))) for i in orthanc.get("/instances"))
        found = [str(dataset.Modality) for dataset in read]
        assert len(found) == 4, found
        assert {"SEG", "SR"} < set(found), found


def test_prove_kubernetes_multi_ai(shipped: Kube, waiter_program: Path, tmp_path: Path) -> None:
    series = write_abdomen(tmp_path / "ct", Abdomen(matrix=112, slices=36, position="FFS"))
    with running_orthanc(tmp_path) as orthanc:
        run(shipped, waiter_program, tmp_path, orthanc, "multi-ai", series.files)
        check_organs(one_segmentation(orthanc), series)
