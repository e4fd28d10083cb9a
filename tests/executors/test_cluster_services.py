"""Kubernetes runs no services: a job that calls one ends at once and says which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors.kubernetes.executor import KubernetesExecutor
from gateway.jobs.executor import End
from tests.support.programs import free_port
from tests.support.reference import shipped_pipeline

MODEL = """
- name: find
  container: {image: test/find, tag: '2'}
  models: [{name: nodules}]
  input: [{name: dcm, type: stream, element-type: dicom, path: /input}]
  output: [{name: found, type: stream, element-type: dicom, path: /output}]
"""


@pytest.fixture
def away(tmp_path: Path) -> Iterator[KubernetesExecutor]:
    """An executor whose cluster does not answer: what it refuses needs no cluster."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}},
        ],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    settings = {"kubeconfig": tmp_path / "kubeconfig", "host-path": str(tmp_path)}
    executor = KubernetesExecutor(KubernetesSettings(**settings), tmp_path)
    yield executor
    executor.close()


def test_a_service_is_refused_by_name(start: Callable[..., Any], away: KubernetesExecutor) -> None:
    operators = yaml.safe_dump(shipped_pipeline("chestxray")["operators"])
    job = start(operators, executor=away)
    ends = job.wait(30).ends
    end = ends["ai-app-chestxray"]
    assert end.end is End.IMAGE_MISSING
    assert end.reason == (
        "the kubernetes executor runs no services, and gateway/chest-xray:latest needs: trtis"
    )
    assert job.report.started == {}


def test_a_model_is_refused_by_name(start: Callable[..., Any], away: KubernetesExecutor) -> None:
    job = start(MODEL, executor=away, version="0.6.0")
    end = job.wait(30).ends["find"]
    assert end.end is End.IMAGE_MISSING
    assert end.reason == "the kubernetes executor loads no models, and test/find:2 needs: nodules"
