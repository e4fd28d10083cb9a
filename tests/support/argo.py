"""A test in the place of Argo's controller, which exists in no Debian or Python package.

Workflows live in a real API server with Argo's full schema; the test writes their status, and
makes their Pods, as the controller does (``workflow/controller`` of Argo's source at f016ad89).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.support.kube import NAMESPACE, Kube, until

PLACE = ("argoproj.io", "v1alpha1", NAMESPACE, "workflows")
RECORDED = Path(__file__).resolve().parents[1] / "executors" / "argo_status"


@dataclass
class Controller:
    """What a test does to Workflows."""

    kube: Kube
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def api(self) -> client.CustomObjectsApi:
        """The administrator's client."""
        return client.CustomObjectsApi(self.kube.client())

    def workflows(self, selector: str = "") -> list[dict[str, Any]]:
        """Workflows of the namespace."""
        found = self.api().list_namespaced_custom_object(*PLACE, label_selector=selector)
        return list(found["items"])

    def workflow(self, job_id: str, seconds: float = 30) -> dict[str, Any]:
        """The Workflow of a job, waited for."""
        return dict(until(lambda: self.workflows(f"gateway/job={job_id}"), seconds)[0])

    def tell(self, name: str, status: Mapping[str, Any]) -> None:
        """Write the status of a Workflow."""
        text = json.dumps(status).replace("$WF", name)
        change = [{"op": "add", "path": "/status", "value": json.loads(text)}]
        kind = "application/json-patch+json"
        self.api().patch_namespaced_custom_object(*PLACE, name, change, _content_type=kind)

    def delete(self, name: str) -> None:
        """Somebody removes a Workflow."""
        self.api().delete_namespaced_custom_object(*PLACE, name)

    def run(self, workflow: Mapping[str, Any], task: str) -> str:
        """Make the Pod of a task of a DAG, and let the node be told from it to its end."""
        name = workflow["metadata"]["name"]
        body = pod(workflow, task)
        self.kube.core().create_namespaced_pod(NAMESPACE, body)
        self._node(name, task, {"phase": "Pending", "startedAt": _now()})
        phase = until(lambda: self._phase(name, task, body["metadata"]["name"]), 60)
        return str(phase)

    def end(self, name: str, phase: str) -> None:
        """The Workflow is over."""
        told = {"phase": phase, "startedAt": _now(), "finishedAt": _now(), "nodes": self.nodes}
        self.tell(name, told)

    def _phase(self, name: str, task: str, pod_name: str) -> str | None:
        told = self.kube.core().read_namespaced_pod(pod_name, NAMESPACE)
        if told.status.phase == "Pending":
            return None
        node: dict[str, Any] = {"phase": told.status.phase}
        if told.status.phase in ("Succeeded", "Failed"):
            ended = told.status.container_statuses[0].state.terminated
            node |= {"finishedAt": _now(), "outputs": {"exitCode": str(ended.exit_code)}}
            if ended.exit_code:
                node["message"] = f"main: {ended.reason} (exit code {ended.exit_code})"
        if self.nodes[task]["phase"] != node["phase"]:
            self._node(name, task, node)
        return None if told.status.phase == "Running" else str(told.status.phase)

    def _node(self, name: str, task: str, change: Mapping[str, Any]) -> None:
        node = self.nodes.setdefault(
            task,
            {
                "id": f"{name}-{task}", "name": f"{name}.{task}", "displayName": task,
                "type": "Pod", "templateName": task, "templateScope": f"local/{name}",
            },
        )  # fmt: skip
        node.update(change)
        self.tell(name, {"phase": "Running", "startedAt": _now(), "nodes": self.nodes})


def pod(workflow: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The Pod that Argo makes of a template with one container, less what Argo adds for itself."""
    meta, spec = workflow["metadata"], workflow["spec"]
    (template,) = [each for each in spec["templates"] if each["name"] == task]
    labels = spec["podMetadata"]["labels"] | template["metadata"]["labels"]
    return {
        "metadata": {
            "name": f"{meta['name']}-{task}-1234",
            "labels": labels | {"workflows.argoproj.io/workflow": meta["name"]},
            "ownerReferences": [
                {
                    "apiVersion": workflow["apiVersion"], "kind": "Workflow", "controller": True,
                    "name": meta["name"], "uid": meta["uid"], "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [template["container"] | {"name": "main"}],
            "volumes": template["volumes"],
            "securityContext": spec["securityContext"],
            "tolerations": spec["tolerations"],
            "automountServiceAccountToken": spec["automountServiceAccountToken"],
            **json.loads(template["podSpecPatch"]),
        },
    }  # fmt: skip


def recorded(name: str) -> dict[str, Any]:
    """A sequence of statuses that is kept beside the tests."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
