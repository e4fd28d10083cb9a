"""The way to the cluster's Workflows: the calls that follow a job's Pod, about its Workflow.

Whoever follows a Pod through :class:`~gateway.executors.kubernetes.api.Cluster` follows a Workflow
through :class:`Workflows`: the same calls, errors and limits of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes import client as k8s

from gateway.executors.kubernetes import names
from gateway.executors.kubernetes.api import (
    CALL_SECONDS,
    WATCH_SECONDS,
    Cluster,
    NotThereError,
    Object,
    ThereError,
    changes,
    options,
    parsed,
)

GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "workflows"
OPERATOR = "gateway/operator"
"""Label of a Pod that runs one operator: its container's name."""
MAIN = "main"
"""What Argo calls the container of a template that has one."""
_MERGE = "application/merge-patch+json"
_NO_SUCH_KIND = "404 page not found"
_POD = re.compile(r"(gateway-[0-9a-f]{32}-\d+)(?:-.*)?")


class Workflows(Cluster):
    """The Workflows of one namespace, and the Pods that Argo makes of them."""

    def served(self) -> bool:
        """True when the cluster knows Workflows.  Whoever may enter it may ask."""
        client = self.connected()
        try:
            with self.calling():
                k8s.CustomObjectsApi(client).get_api_resources(GROUP, VERSION, **options())
        except NotThereError:
            return False
        return True

    def usable(self) -> bool:
        """True when the cluster knows Workflows and lets us make some."""
        return self.served() and self.allowed("create", PLURAL, group=GROUP)

    def create(self, body: Mapping[str, Any]) -> Object:
        """Make a Workflow; :class:`ThereError` when there is one of its name."""
        with self._workflows() as api:
            return parsed(api.create_namespaced_custom_object(*self._place, body, **options()))

    def get(self, name: str) -> Object:
        """The Workflow called ``name``; :class:`NotThereError` if there is none."""
        with self._workflows() as api:
            return parsed(api.get_namespaced_custom_object(*self._place, name, **options()))

    def find(self, selector: str) -> tuple[list[Object], str]:
        """Workflows with the labels of ``selector``, and the version that the list tells of."""
        with self._workflows() as api:
            found = parsed(
                api.list_namespaced_custom_object(
                    *self._place, label_selector=selector, **options()
                )
            )
        return found["items"], found["metadata"]["resourceVersion"]

    def watch(self, selector: str, version: str) -> Iterator[tuple[str, Object]]:
        """Changes of Workflows since ``version``, as of Pods."""
        with self._workflows() as api:
            answer = api.list_namespaced_custom_object(
                *self._place,
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
                **options((CALL_SECONDS[0], WATCH_SECONDS + CALL_SECONDS[1])),
            )
            yield from changes(answer)

    def watch_events(self, selector: str, version: str) -> Iterator[tuple[str, Object]]:
        """What the cluster tells of Pods, each told of the Workflow that made it."""
        for kind, event in super().watch_events(selector, version):
            told = event.get("involvedObject", {})
            made = _POD.fullmatch(told.get("name", ""))
            if made is not None:
                told["name"] = made[1]
            yield kind, event

    def terminate(self, name: str) -> None:
        """Let Argo end everything of a Workflow politely; nothing when it is not there."""
        change = {"spec": {"shutdown": "Terminate"}}
        try:
            with self._workflows() as api:
                api.patch_namespaced_custom_object(
                    *self._place, name, change, _content_type=_MERGE, **options()
                )
        except NotThereError:
            return

    def delete(self, name: str, grace: int, uid: str | None = None) -> None:
        """Remove a Workflow's record; the cluster ends its Pods after that.

        Nothing when it is not there, or is not the one of ``uid``.
        """
        body: Object = {"gracePeriodSeconds": grace, "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            with self._workflows() as api:
                api.delete_namespaced_custom_object(*self._place, name, body=body, **options())
        except (NotThereError, ThereError):
            return

    def pods(self, name: str) -> list[Object]:
        """The Pods of the Workflow of an attempt, whether or not it is still there."""
        job, _, attempt = name.removeprefix("gateway-").rpartition("-")
        found, _ = super().find(f"{names.of_job(job)},{names.ATTEMPT}={attempt}")
        return found

    def pods_of_job(self, job_id: str) -> list[Object]:
        """Every Pod of a job, whichever attempt."""
        found, _ = super().find(names.of_job(job_id))
        return found

    def end_pod(self, name: str, grace: int) -> None:
        """Begin to end a Pod; ``grace`` 0 removes its record at once."""
        super().delete(name, grace)

    @contextmanager
    def log(
        self, pod: str, container: str, *, since_seconds: int | None = None, follow: bool = True
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The log of an operator, ``container``, of the Workflow called ``pod``.

        :class:`NotThereError` when no Pod runs or ran it, or Argo has removed that.
        """
        found, inside = self._running(pod, container)
        with super().log(found, inside, since_seconds=since_seconds, follow=follow) as answer:
            yield answer

    def _running(self, workflow: str, operator: str) -> tuple[str, str]:
        """The newest Pod of an operator, and the container in it."""
        found = sorted(self.pods(workflow), key=lambda p: str(p["metadata"]["creationTimestamp"]))
        for pod in reversed(found):
            if pod["metadata"]["labels"].get(OPERATOR) == operator:
                return pod["metadata"]["name"], MAIN
            if any(each["name"] == operator for each in pod["spec"]["containers"]):
                return pod["metadata"]["name"], operator
        raise NotThereError(f"no Pod runs {operator}")

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    @contextmanager
    def _workflows(self) -> Iterator[k8s.CustomObjectsApi]:
        client = self.connected()
        try:
            with self.calling():
                yield k8s.CustomObjectsApi(client)
        except NotThereError as error:
            if _NO_SUCH_KIND in str(error):
                raise NotThereError("the cluster has no Argo Workflows") from error
            raise
