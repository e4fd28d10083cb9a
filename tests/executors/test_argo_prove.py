"""The long form: an API server that is away while a Workflow goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors.argo.executor import ArgoExecutor
from gateway.jobs.executor import End, Stop
from tests.support.argo import Controller
from tests.support.kube import Kube, step, until

pytestmark = [pytest.mark.peers, pytest.mark.prove]

AWAY_SECONDS = 60
TWO = step("one", "for i in 1 2 3; do echo $i; sleep 1; done; echo > /output/x") + step(
    "two", "cat /in/one/x > /output/y", source="one"
)


@pytest.fixture
def engine(kube: Kube, tmp_path: Path) -> Iterator[ArgoExecutor]:
    told: dict[str, Any] = {"kubeconfig": kube.kubeconfig, "host_path": str(tmp_path)}
    executor = ArgoExecutor(KubernetesSettings(**told), tmp_path)
    yield executor
    executor.close()


def answers(argo: Controller) -> bool:
    try:
        argo.workflows()
    except (urllib3.exceptions.HTTPError, ApiException):
        return False
    return True


def test_prove_argo_api_server_away(start: Any, engine: ArgoExecutor, kube: Kube) -> None:
    argo = Controller(kube)
    job = start(TWO, executor=engine, version="0.3.0")
    made = argo.workflow(job.run.job_id)
    with kube.without_api_server():
        time.sleep(AWAY_SECONDS)
        assert not job.handle.done()
    until(lambda: answers(argo), 120)
    assert argo.run(made, "op-0-one") == "Succeeded"
    assert argo.run(made, "op-1-two") == "Succeeded"
    argo.end(made["metadata"]["name"], "Succeeded")
    report = job.wait(180)
    ends = {name: end.end for name, end in report.ends.items()}
    assert ends == {"one": End.COMPLETED, "two": End.COMPLETED}, report.ends
    assert job.log("one").split() == ["1", "2", "3"]


def test_prove_argo_cancelled_while_api_server_is_away(
    start: Any, engine: ArgoExecutor, kube: Kube
) -> None:
    argo = Controller(kube)
    job = start(TWO, executor=engine, version="0.3.0")
    argo.workflow(job.run.job_id)
    with kube.without_api_server():
        job.handle.stop(Stop.CANCEL)
        time.sleep(10)
        assert not job.handle.done(), "nobody can tell that nothing of it runs"
    job.wait(120)
    assert argo.workflows(f"gateway/job={job.run.job_id}") == []
