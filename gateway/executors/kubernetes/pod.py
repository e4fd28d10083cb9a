"""A job as one Pod, as plain data.

Where a command is known for every operator all are containers, and the waiters keep their order:
the cost of a Pod's start is paid once, and what can run at once does.  Where only an image knows
what it executes, no waiter can stand before it: then operators are init containers, which a
cluster runs one after the other, and the last one the Pod's container.
"""

from __future__ import annotations

from gateway.config.kubernetes import KubernetesSettings, Toleration
from gateway.executors.kubernetes import containers, names, volumes
from gateway.executors.kubernetes.api import Object
from gateway.executors.kubernetes.containers import ORDER, Share, Site
from gateway.jobs.executor import JobRun
from gateway.pipelines.graph import levels
from gateway.pipelines.model import Operator

_QUEUE = "kueue.x-k8s.io/queue-name"
_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def pod(site: Site, run: JobRun, owner: str, deadline: int) -> Object:
    """The Pod of an attempt; the cluster ends it ``deadline`` seconds after its start."""
    operators = containers.running(run)
    together = in_order(site, operators)
    if together:
        part = containers.share(run.definition, operators)
        made = [containers.container(site, run, o, part, waits=True) for o in operators]
        before: list[Object] = []
    else:
        *before, last = [
            containers.container(site, run, o, Share(), waits=False) for o in chain(run)
        ]
        made = [last]
    spec: Object = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": deadline,
        "terminationGracePeriodSeconds": grace(run),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": "operator",
        "securityContext": containers.user(),
        "initContainers": before,
        "containers": made,
        "volumes": _volumes(site, operators, run, together=together),
        "imagePullSecrets": [{"name": name} for name in run.definition.pull_secrets],
        **placement(site.settings, run, operators),
    }
    network = "asked" if any(o.network for o in operators) else "none"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(run.job_id, run.attempt),
            "labels": {
                **names.labels(run.job_id, run.attempt, owner),
                names.NETWORK: network,
                **queue(site.settings),
            },
        },
        "spec": spec,
    }


def in_order(site: Site, operators: list[Operator]) -> bool:
    """True when waiters can keep the order: a command is known for every operator."""
    return site.waiter is not None and all(containers.command(site, o) for o in operators)


def chain(run: JobRun) -> list[Operator]:
    """The operators of the attempt one after the other, each after those it reads from."""
    names_in_order = [name for level in levels(run.definition) for name in level]
    return [run.definition.operator(n) for n in names_in_order if n not in run.kept]


def grace(run: JobRun) -> int:
    """Whole seconds between the polite and the hard end; 0 would leave the node out of it."""
    return max(1, round(run.grace_seconds))


def placement(settings: KubernetesSettings, run: JobRun, operators: list[Operator]) -> Object:
    """Where a Pod of these operators may run, and before which others."""
    found: Object = {"tolerations": tolerations(settings)}
    if settings.node_selector:
        found["nodeSelector"] = dict(settings.node_selector)
    chosen = getattr(settings.priority_classes, run.priority.lower(), None)
    if chosen is not None:
        found["priorityClassName"] = chosen
    if settings.runtime_class is not None and any(o.requests.gpu for o in operators):
        found["runtimeClassName"] = settings.runtime_class
    return found


def tolerations(settings: KubernetesSettings) -> list[Object]:
    """Taints that Pods bear; of lost nodes only for so long that the job can run elsewhere."""
    return [_toleration(each) for each in settings.tolerations] + [
        {
            "key": key, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": settings.node_lost_seconds,
        }
        for key in _LOST
    ]  # fmt: skip


def queue(settings: KubernetesSettings) -> Object:
    """The label by which Kueue takes an object into a queue."""
    return {} if settings.queue is None else {_QUEUE: settings.queue}


def _toleration(told: Toleration) -> Object:
    found: Object = {"operator": told.operator}
    for key, value in (
        ("key", told.key), ("value", told.value), ("effect", told.effect),
        ("tolerationSeconds", told.toleration_seconds),
    ):  # fmt: skip
        if value is not None:
            found[key] = value
    return found


def _volumes(site: Site, operators: list[Operator], run: JobRun, *, together: bool) -> list[Object]:
    found = [volumes.data_volume(site.settings)]
    for operator in operators:
        found += containers.own_volumes(run, operator)
    if together:
        found.append({"name": ORDER, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
    return found
