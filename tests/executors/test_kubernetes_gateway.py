"""A whole gateway on a real Kubernetes: it dies, stops and starts again, and its jobs go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube import NAMESPACE, PYTHON, Kube
from tests.support.site import Site, application, pipeline

pytestmark = [pytest.mark.peers, pytest.mark.crash, pytest.mark.prove]

# Each operator says when it ran: twice would be two lines.
WORK = """
import os, pathlib, time
with open("/output/ran", "a") as file:
    file.write(os.environ["GATEWAY_JOB_ATTEMPT"] + "\\n")
print("working", flush=True)
seconds = float(os.environ.get("SECONDS", "0"))
time.sleep(seconds)
print("worked", flush=True)
"""


def operator(name: str, source: str | None = None, seconds: float = 0) -> dict[str, Any]:
    reads: dict[str, Any] = {"path": "/input"} | ({"from": source} if source else {})
    return {
        "name": name,
        "container": {"image": PYTHON, "tag": "1", "command": ["python3", "-c", WORK]},
        "input": [reads],
        "output": [{"path": "/output"}],
        "requests": {"cpu": 0.1, "memory": 128},
        "variables": {"SECONDS": str(seconds)},
    }


@pytest.fixture
def site(kube: Kube, waiter_program: Path, tmp_path: Path) -> Iterator[Site]:
    found = Site(
        tmp_path / "site",
        applications=[application()],
        pipelines=[
            pipeline("long", operator("first", seconds=1), operator("second", "first", seconds=12)),
            pipeline("endless", operator("only", seconds=3600)),
        ],
        settings={
            "executor": "kubernetes",
            "kubernetes": {
                "kubeconfig": str(kube.kubeconfig),
                "host-path": str(tmp_path / "site" / "data"),
                "waiter": str(waiter_program),
            },
        },
    )
    found.start()
    yield found
    found.stop()


def begin(site: Site, name: str) -> str:
    """A job of a pipeline, made by hand and started."""
    (site.root / "payload").mkdir(exist_ok=True)
    (site.root / "payload" / "x").write_text("x")
    (found,) = [p for p in site.items("pipelines") if p["name"] == name]
    made = site.cli("create", "job", "-n", "by-hand", "-p", found["id"], "-f", "payload", "--json")
    assert made.returncode == 0, made.stderr
    job_id = str(json.loads(made.stdout)["job_id"])
    started = site.cli("start", "job", "-j", job_id)
    assert started.returncode == 0, started.stderr
    return job_id


def state(site: Site, job_id: str) -> dict[str, Any]:
    return next(j for j in site.items("jobs") if j["id"] == job_id)


def works(site: Site, job_id: str, name: str) -> bool:
    found = site.get(f"jobs/{job_id}")
    return any(o["name"] == name and o["started_at"] for o in found["operators"])


def test_a_gateway_that_comes_back_carries_its_jobs_on(site: Site, kube: Kube) -> None:
    job_id = begin(site, "long")
    site.wait(lambda: works(site, job_id, "second"))
    (before,) = kube.pods(f"gateway/job={job_id}")
    site.kill()
    site.start()
    site.wait(lambda: "carried on" in (site.root / "gateway.log").read_text())
    assert site.stop() == 0, "a polite end leaves the Pod alone too"
    site.start()
    site.wait(lambda: state(site, job_id)["state"] == "STOPPED", 90)
    found = site.get(f"jobs/{job_id}")
    assert (found["status"], found["attempt"]) == ("HEALTHY", 1), found
    folder = site.data / "payloads" / found["payload_id"] / "operators"
    assert [(folder / n / "ran").read_text() for n in ("first", "second")] == ["1\n", "1\n"]
    log = site.data / "logs" / job_id / "1" / "second.log"
    assert log.read_text() == "working\nworked\n"
    kinds = [event["kind"] for event in site.items("events", job=job_id)]
    assert kinds.count("job/started") == 1
    assert kinds.count("job/stopped") == 1
    assert kinds.count("operator/started") == 2
    assert "job/noticed" in kinds
    assert kube.pods(f"gateway/job={job_id}") == []
    assert before.metadata.labels["gateway/attempt"] == "1"


def test_prove_kubernetes_a_pod_that_is_gone_when_the_gateway_comes_back(
    site: Site, kube: Kube
) -> None:
    job_id = begin(site, "endless")
    site.wait(lambda: works(site, job_id, "only"))
    site.kill()
    (pod,) = kube.pods(f"gateway/job={job_id}")
    kube.core().delete_namespaced_pod(pod.metadata.name, NAMESPACE, grace_period_seconds=0)
    site.start()
    site.wait(lambda: state(site, job_id)["attempt"] == 2, 90)
    site.wait(lambda: works(site, job_id, "only"), 90)
    assert len(kube.pods(f"gateway/job={job_id}")) == 1
    site.kill()
    # Cancelled by whoever comes next: the wish is in the records.
    site.start()
    assert site.cli("cancel", "job", "-j", job_id).returncode == 0
    site.wait(lambda: state(site, job_id)["state"] == "STOPPED", 90)
    assert state(site, job_id)["status"] == "CANCELED"
    assert kube.pods(f"gateway/job={job_id}") == []
    assert site.cli("doctor", "--config", "gateway.yaml").stdout.count("the cluster answers") == 1
