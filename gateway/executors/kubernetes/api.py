"""The way to the cluster's API server: objects as plain data, errors as three kinds.

Any thread may call; each call has a limit of time.  Nothing here is kept between calls but the
connections.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import urllib3
from kubernetes import client as k8s
from kubernetes import config as k8s_config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from gateway.config.kubernetes import KubernetesSettings
from gateway.errors import Transient

Object: TypeAlias = dict[str, Any]
"""An object of the cluster, as JSON tells it."""

CALL_SECONDS = (5.0, 30.0)
"""Longest wait for a connection, and for each piece of an answer."""
WATCH_SECONDS = 240
"""The server ends a watch after this, and it begins anew where it was."""
_CONNECTIONS = 64
_MOST_WORDS = 500


class ClusterError(Transient):
    """The API server does not answer, or answers with an error of its own."""


class NotThereError(ClusterError):
    """The object that a call names is not there (404)."""


class ThereError(ClusterError):
    """An object of that name is there already (409)."""


class GoneError(ClusterError):
    """What was asked for is older than the server remembers (410): list anew."""


class DeniedError(ClusterError):
    """The server does not let us (401, 403), or not now: a quota is used up."""


class InvalidError(ClusterError):
    """The server takes no such object (400, 422); it will not take it again either."""


_ERRORS: Mapping[int, type[ClusterError]] = {
    400: InvalidError,
    401: DeniedError,
    403: DeniedError,
    404: NotThereError,
    409: ThereError,
    410: GoneError,
    422: InvalidError,
}


class Cluster:
    """One namespace of a cluster; connected to when first needed."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: k8s.ApiClient | None = None

    @property
    def namespace(self) -> str:
        """Where everything of ours is."""
        return self._settings.namespace

    def create(self, body: Mapping[str, Any]) -> Object:
        """Make a Pod; :class:`ThereError` when there is one of its name."""
        with self._calling() as core:
            return parsed(core.create_namespaced_pod(self.namespace, body, **options(CALL_SECONDS)))

    def get(self, name: str) -> Object:
        """The Pod called ``name``; :class:`NotThereError` if there is none."""
        with self._calling() as core:
            return parsed(core.read_namespaced_pod(name, self.namespace, **options(CALL_SECONDS)))

    def find(self, selector: str) -> tuple[list[Object], str]:
        """Pods with the labels of ``selector``, and the version that the list tells of."""
        with self._calling() as core:
            found = parsed(
                core.list_namespaced_pod(
                    self.namespace, label_selector=selector, **options(CALL_SECONDS)
                )
            )
        return found["items"], found["metadata"]["resourceVersion"]

    def delete(self, name: str, grace: int, uid: str | None = None) -> None:
        """Begin to end a Pod; nothing when it is not there, or is not the one of ``uid``.

        ``grace`` 0 removes its record at once, whether its node answers or not.
        """
        body: Object = {"gracePeriodSeconds": grace, "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            with self._calling() as core:
                core.delete_namespaced_pod(
                    name, self.namespace, body=body, **options(CALL_SECONDS)
                ).release_conn()
        except (NotThereError, ThereError):
            return

    def watch(self, selector: str, version: str) -> Iterator[tuple[str, Object]]:
        """Changes of Pods since ``version``: ``ADDED``, ``MODIFIED``, ``DELETED``, ``BOOKMARK``.

        Ends after a while; go on from the version of the last object.  :class:`GoneError` when
        the server has forgotten ``version``.
        """
        with self._calling() as core:
            answer = core.list_namespaced_pod(
                self.namespace,
                label_selector=selector,
                resource_version=version,
                watch=True,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_SECONDS,
                **options((CALL_SECONDS[0], WATCH_SECONDS + CALL_SECONDS[1])),
            )
            yield from changes(answer)

    def events(self, selector: str) -> tuple[list[Object], str]:
        """What the cluster tells of objects of a field selector, and the version of the list."""
        with self._calling() as core:
            found = parsed(
                core.list_namespaced_event(
                    self.namespace, field_selector=selector, **options(CALL_SECONDS)
                )
            )
        return found["items"], found["metadata"]["resourceVersion"]

    def watch_events(self, selector: str, version: str) -> Iterator[tuple[str, Object]]:
        """New events since ``version``, as :meth:`watch` tells of Pods."""
        with self._calling() as core:
            answer = core.list_namespaced_event(
                self.namespace,
                field_selector=selector,
                resource_version=version,
                watch=True,
                timeout_seconds=WATCH_SECONDS,
                **options((CALL_SECONDS[0], WATCH_SECONDS + CALL_SECONDS[1])),
            )
            yield from changes(answer)

    @contextmanager
    def log(
        self, pod: str, container: str, *, since_seconds: int | None = None, follow: bool = True
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The log of a container, each line with the time it was written.

        ``follow``: while it grows, else as it is.  ``since_seconds``: only what was written as
        long ago, or later.
        """
        since = {} if since_seconds is None else {"since_seconds": since_seconds}
        with self._calling() as core:
            answer = core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                timestamps=True,
                **since,
                # A longer silence of an operator only makes it asked for again.
                **options((CALL_SECONDS[0], WATCH_SECONDS)),
            )
            try:
                yield answer
            finally:
                answer.close()

    def allowed(self, verb: str, resource: str, subresource: str = "", group: str = "") -> bool:
        """True when the server would let us do ``verb`` to objects of the kind ``resource``."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "namespace": self.namespace, "verb": verb, "resource": resource,
                    "subresource": subresource, "group": group,
                }
            },
        }  # fmt: skip
        with self._calling():
            api = k8s.AuthorizationV1Api(self.connected())
            told = parsed(api.create_self_subject_access_review(review, **options(CALL_SECONDS)))
        return bool(told["status"]["allowed"])

    def connected(self) -> k8s.ApiClient:
        """The client behind all calls, for kinds of objects that have no method here.

        Raises :class:`ClusterError` when the settings lead to no cluster.
        """
        with self._lock:
            if self._client is None:
                self._client = k8s.ApiClient(_configuration(self._settings))
            return self._client

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Whatever a call inside raises becomes a :class:`ClusterError`."""
        try:
            yield
        except ApiException as error:
            kind = _ERRORS.get(error.status or 0, ClusterError)
            raise kind(words(error)) from error
        except (urllib3.exceptions.HTTPError, OSError, json.JSONDecodeError) as error:
            message = f"the API server does not answer: {type(error).__name__}"
            raise ClusterError(message) from error

    @contextmanager
    def _calling(self) -> Iterator[k8s.CoreV1Api]:
        client = self.connected()
        with self.calling():
            yield k8s.CoreV1Api(client)


def words(error: ApiException) -> str:
    """What the server says, on one line."""
    text = error.body or error.reason or f"HTTP {error.status}"
    with suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["message"]
    return " ".join(str(text).split())[:_MOST_WORDS]


def _configuration(settings: KubernetesSettings) -> k8s.Configuration:
    found = k8s.Configuration()
    try:
        if settings.kubeconfig is None:
            k8s_config.load_incluster_config(client_configuration=found)
        else:
            k8s_config.load_kube_config(str(settings.kubeconfig), client_configuration=found)
    except (ConfigException, OSError, ValueError) as error:
        where = "the service account of this Pod"
        if settings.kubeconfig is not None:
            where = f"the file {settings.kubeconfig}"
        raise ClusterError(f"{where} leads to no cluster: {error}") from error
    # Whoever calls knows better when to try again.
    found.retries = False
    found.connection_pool_maxsize = _CONNECTIONS
    return found


def options(timeout: tuple[float, float] = CALL_SECONDS) -> dict[str, Any]:
    """How a call is made: its answer as it comes, within ``timeout``."""
    return {"_preload_content": False, "_request_timeout": timeout}


def parsed(answer: urllib3.BaseHTTPResponse) -> Object:
    """The object of an answer."""
    found: Object = json.loads(answer.data)
    return found


def changes(answer: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, Object]]:
    """Lines of JSON, each a change; an error among them is raised."""
    try:
        rest = b""
        for piece in answer.stream(1 << 16):
            *lines, rest = (rest + piece).split(b"\n")
            for line in filter(None, lines):
                change = json.loads(line)
                if change["type"] == "ERROR":
                    told = change["object"]
                    kind = _ERRORS.get(told.get("code", 0), ClusterError)
                    raise kind(str(told.get("message", "the watch failed"))[:_MOST_WORDS])
                yield change["type"], change["object"]
    finally:
        answer.close()
