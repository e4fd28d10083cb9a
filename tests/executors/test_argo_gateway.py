"""A whole gateway with ``executor: argo``: a pipeline of 0.3.0 outlives it, Pod by Pod."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.argo import Controller
from tests.support.kube import BUSYBOX, Kube
from tests.support.site import Site, application, pipeline

pytestmark = [pytest.mark.peers, pytest.mark.crash, pytest.mark.prove]


def operator(name: str, source: str | None = None) -> dict[str, Any]:
    reads: dict[str, Any] = {"path": "/input"} | ({"from": source} if source else {})
    return {
        "name": name,
        "container": {"image": BUSYBOX, "tag": "1", "command": ["sh", "-c", "echo ran >/output/x"]},
        "input": [reads],
        "output": [{"path": "/output"}],
        "requests": {"cpu": 0.1, "memory": 64},
    }


@pytest.fixture
def site(kube: Kube, tmp_path: Path) -> Iterator[Site]:
    old = pipeline("old", operator("first"), operator("second", "first"))
    found = Site(
        tmp_path / "site",
        applications=[application()],
        pipelines=[old | {"api-version": "0.3.0"}],
        settings={
            "executor": "argo",
            "kubernetes": {
                "kubeconfig": str(kube.kubeconfig),
                "host-path": str(tmp_path / "site" / "data"),
            },
        },
    )
    found.start()
    yield found
    found.stop()


def test_prove_argo_gateway_that_was_killed_carries_a_workflow_on(site: Site, kube: Kube) -> None:
    argo = Controller(kube)
    (site.root / "payload").mkdir()
    (site.root / "payload" / "x").write_text("x")
    (found,) = site.items("pipelines")
    made = site.cli("create", "job", "-n", "by-hand", "-p", found["id"], "-f", "payload", "--json")
    assert made.returncode == 0, made.stderr
    job_id = str(json.loads(made.stdout)["job_id"])
    assert site.cli("start", "job", "-j", job_id).returncode == 0
    workflow = argo.workflow(job_id)
    assert argo.run(workflow, "op-0-first") == "Succeeded"
    site.kill()
    assert argo.run(workflow, "op-1-second") == "Succeeded"
    argo.end(workflow["metadata"]["name"], "Succeeded")
    site.start()
    site.wait(lambda: site.get(f"jobs/{job_id}")["state"] == "STOPPED", 60)
    told = site.get(f"jobs/{job_id}")
    assert (told["status"], told["attempt"], told["notes"]) == ("HEALTHY", 1, []), told
    operators = site.data / "payloads" / told["payload_id"] / "operators"
    assert [(operators / n / "x").read_text() for n in ("first", "second")] == ["ran\n", "ran\n"]
    kinds = [event["kind"] for event in site.items("events", job=job_id)]
    assert (kinds.count("job/started"), kinds.count("job/stopped")) == (1, 1)
    assert (kinds.count("operator/started"), kinds.count("operator/stopped")) == (2, 2)
    assert argo.workflows(f"gateway/job={job_id}") == []
    doctor = site.cli("doctor")
    assert "executor argo" in doctor.stdout
    assert "the cluster and its Argo let us in" in " ".join(doctor.stdout.split())
