"""One operator as a container of a Pod, as plain data.

Whoever the operator is: not root, no capabilities, no way to new ones, a read-only root, a private
``/tmp`` in memory.  Containers of one Pod start together; the waiter, which is process 1 of each,
keeps their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors import access
from gateway.executors.environment import environment
from gateway.executors.images import Images, Program
from gateway.executors.kubernetes import volumes
from gateway.executors.kubernetes.api import Object
from gateway.executors.kubernetes.names import container_name
from gateway.executors.kubernetes.volumes import Shown
from gateway.executors.references import reference_of
from gateway.jobs.executor import JobRun
from gateway.pipelines.graph import needs
from gateway.pipelines.model import Definition, Operator

ORDER = "order"
"""The volume of marks by which waiters tell each other that an operator ended."""
MESSAGE = "/dev/termination-log"
"""Where the waiter writes when its operator began and ended; the cluster hands it on."""
WAITER = "/.gateway/waiter"
_ORDER = "/.gateway/order"
_PULL = {"missing": "IfNotPresent", "always": "Always", "never": "Never"}
_NOT_OURS = ("PATH", "LANG", "USER")
"""Variables that the image may set, and whose values here we cannot see."""


@dataclass(frozen=True)
class Site:
    """What every container of every job is made with."""

    settings: KubernetesSettings
    images: Images
    data_dir: Path
    """The folder that the data volume holds, as this machine sees it."""
    waiter: Path | None = None
    """The waiter, below ``data_dir``; None = operators run one after the other, by the cluster."""
    host_volumes: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def command(site: Site, operator: Operator) -> tuple[str, ...]:
    """What an operator executes, as far as that is known; empty = only its image knows."""
    program = site.images.find(operator)
    return operator.command if program is None else program.command


def running(run: JobRun) -> list[Operator]:
    """The operators that this attempt runs, in the order of the definition."""
    return [each for each in run.definition.operators if each.name not in run.kept]


def container(site: Site, run: JobRun, operator: Operator, share: Share, *, waits: bool) -> Object:
    """The container of ``operator``; ``waits``: its waiter keeps the order, else the cluster."""
    words = command(site, operator)
    made: Object = {
        "name": container_name(run.definition, operator),
        "image": reference_of(operator.image, operator.tag),
        "imagePullPolicy": _PULL[site.settings.pull],
        "env": variables(site, run, operator),
        "resources": _resources(site.settings, operator, share),
        "volumeMounts": mounts(site, run, operator, waits=waits),
        "securityContext": restricted(),
        "terminationMessagePath": MESSAGE,
    }
    if words:
        made["command"] = [literal(w) for w in (*_waiting(run, operator, waits=waits), *words)]
    return made


def restricted() -> Object:
    """What no container of ours may do."""
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def literal(text: str) -> str:
    """``text`` so that the cluster puts no variables into it."""
    return text.replace("$", "$$")


def variables(site: Site, run: JobRun, operator: Operator) -> list[Object]:
    """The environment of an operator, less what its image knows better."""
    program = site.images.find(operator) or Program(())
    found = environment(run, operator, Program((), {**program.env, **site.environ}), ())
    own = {*program.env, *site.environ, *operator.variables}
    for name in _NOT_OURS:
        if name not in own:
            del found[name]
    if operator.requests.gpu:
        # The device plugin says which; both of these would hide its devices.
        for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
            if name not in own:
                del found[name]
    return [{"name": name, "value": literal(value)} for name, value in found.items()]


def mounts(site: Site, run: JobRun, operator: Operator, *, waits: bool) -> list[Object]:
    """Everything that an operator's container sees besides its image."""
    position = run.definition.operators.index(operator)
    shown = volumes.folders(run, operator)
    found = [volumes.mount(site.data_dir, each) for each in shown]
    taken = {each.path for each in shown}
    found += [m for m in _scratch(position) if m["mountPath"] not in taken]
    if operator.host_volume is not None:
        found.append(volumes.host_volume(position, operator.host_volume)[1])
    if waits and site.waiter is not None:
        found.append(volumes.mount(site.data_dir, Shown(site.waiter, WAITER)))
        found += [
            {
                "name": ORDER, "mountPath": f"{_ORDER}/{index}", "subPath": str(index),
                "readOnly": index != position,
            }
            for index in (position, *_upstream(run, operator))
        ]  # fmt: skip
    return volumes.outer_first(found)


def own_volumes(run: JobRun, operator: Operator) -> list[Object]:
    """Volumes of the Pod that are there for this operator alone."""
    position = run.definition.operators.index(operator)
    size = f"{operator.requests.memory}Mi"
    found: list[Object] = [
        {"name": f"scratch-{position}", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    ]
    if operator.host_volume is not None:
        found.append(volumes.host_volume(position, operator.host_volume)[0])
    return found


def _scratch(position: int) -> list[Object]:
    name = f"scratch-{position}"
    return [
        {"name": name, "mountPath": "/tmp", "subPath": "tmp"},  # noqa: S108 - in the container
        {"name": name, "mountPath": "/dev/shm", "subPath": "shm"},  # noqa: S108
    ]


def _upstream(run: JobRun, operator: Operator) -> list[int]:
    """Positions of the operators that must end before this one begins, in this attempt."""
    operators = run.definition.operators
    return [
        operators.index(run.definition.operator(name))
        for name in operator.upstream
        if name not in run.kept
    ]


def _waiting(run: JobRun, operator: Operator, *, waits: bool) -> Sequence[str]:
    if not waits:
        return ()
    position = run.definition.operators.index(operator)
    options = ["-t", MESSAGE, "-m", f"{_ORDER}/{position}"]
    for index in _upstream(run, operator):
        options += ["-w", f"{_ORDER}/{index}"]
    return (WAITER, *options, "--")


@dataclass(frozen=True)
class Share:
    """Which part of what it asks for an operator asks of the cluster.

    A Pod's requests are the sum of its containers', but operators that wait for each other never
    run at once: the job needs less than that sum.  Limits are each operator's own.
    """

    cpu: Fraction = Fraction(1)
    memory: Fraction = Fraction(1)


def share(definition: Definition, operators: Sequence[Operator]) -> Share:
    """The part that makes the sum of requests what the job needs at once."""
    need = needs(definition)
    cpu = sum(Fraction(o.requests.cpu) for o in operators)
    memory = sum(o.requests.memory for o in operators)
    return Share(
        min(Fraction(1), Fraction(need.cpu) / cpu) if cpu else Fraction(1),
        min(Fraction(1), Fraction(need.memory) / memory) if memory else Fraction(1),
    )


def _resources(settings: KubernetesSettings, operator: Operator, part: Share) -> Object:
    asked = operator.requests
    limits: Object = {"memory": f"{asked.memory}Mi"}
    requests: Object = {
        "cpu": f"{max(1, math.ceil(Fraction(asked.cpu) * 1000 * part.cpu))}m",
        "memory": f"{max(1, math.ceil(asked.memory * part.memory))}Mi",
    }
    if asked.gpu:
        # Devices cannot be had for a time: the Pod holds those of all operators to its end.
        limits[settings.gpu_resource] = requests[settings.gpu_resource] = str(asked.gpu)
    return {"limits": limits, "requests": requests}


def user() -> Object:
    """Who operators are, for the whole Pod."""
    who = access.user()
    return {
        "runAsUser": who.uid,
        "runAsGroup": who.gid,
        "runAsNonRoot": True,
        "supplementalGroups": [] if who.group is None else [who.group],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
