"""What a Pod's status says, read into a few facts.

Pure.  A cluster tells times in whole seconds; the waiter's message, where there is one, tells them
exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.executors.kubernetes.api import Object

SKIPPED = 125
"""The waiter's exit code when an operator upstream failed."""
_CANNOT_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_NO_IMAGE = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_CANNOT_MAKE = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of containers that the node could not even start."""
_DISRUPTED = "DisruptionTarget"


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    reason: str
    message: str
    began: float | None
    """When the operator was executed; None = it never was."""
    ended: float
    unstartable: str | None = None
    """Why the node could not even start it, in its words."""


@dataclass(frozen=True)
class Container:
    """One container of a Pod."""

    name: str
    image: str | None = None
    """What runs, by digest."""
    running_since: float | None = None
    ended: Ended | None = None
    hindrance: str | None = None
    """Why it does not run, in the cluster's words."""
    hopeless: bool = False
    """It never will."""


@dataclass(frozen=True)
class Facts:
    """A Pod, as far as a job needs to know."""

    uid: str
    phase: str
    containers: Mapping[str, Container]
    deleting: bool = False
    """Somebody began to delete it."""
    trouble: str | None = None
    """Why the Pod as a whole failed or is taken away, as a sentence."""
    unschedulable: str | None = None
    """Why no node takes it, in the scheduler's words."""
    node: str | None = None


def read(pod: Object) -> Facts:
    """The facts of a Pod."""
    status = pod.get("status", {})
    told = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    found = [_container(each) for each in told]
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    return Facts(
        uid=pod["metadata"]["uid"],
        phase=status.get("phase", "Pending"),
        containers={each.name: each for each in found},
        deleting="deletionTimestamp" in pod["metadata"],
        trouble=_trouble(status, conditions),
        unschedulable=_unschedulable(conditions),
        node=pod.get("spec", {}).get("nodeName"),
    )


def time_of(text: str | None) -> float | None:
    """A cluster's time as seconds since the epoch."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def _trouble(status: Object, conditions: Mapping[str, Object]) -> str | None:
    disrupted = conditions.get(_DISRUPTED, {})
    if disrupted.get("status") == "True":
        return _sentence(disrupted.get("reason", _DISRUPTED), disrupted.get("message", ""))
    if status.get("reason"):
        return _sentence(status["reason"], status.get("message", ""))
    return None


def _unschedulable(conditions: Mapping[str, Object]) -> str | None:
    found = conditions.get("PodScheduled", {})
    if found.get("status") != "False":
        return None
    return _sentence(found.get("reason", "Unschedulable"), found.get("message", ""))


def _sentence(reason: str, message: str) -> str:
    return f"{reason}: {' '.join(message.split())[:500]}" if message else reason


def _container(told: Object) -> Container:
    state = told.get("state", {})
    image = told.get("imageID") or None
    if "terminated" in state:
        return Container(told["name"], image, ended=_ended(state["terminated"]))
    if "running" in state:
        return Container(told["name"], image, time_of(state["running"].get("startedAt")))
    waiting = state.get("waiting", {})
    return held_up(told["name"], image, waiting.get("reason", ""), waiting.get("message", ""))


def held_up(name: str, image: str | None, reason: str, message: str) -> Container:
    """A container that waits, and whether it waits in vain."""
    if reason not in _CANNOT_PULL | _NO_IMAGE | _CANNOT_MAKE:
        return Container(name, image)
    hindrance = _sentence(reason, message)
    return Container(name, image, hindrance=hindrance, hopeless=reason in _NO_IMAGE)


def _ended(told: Object) -> Ended:
    code, reason = int(told.get("exitCode", 0)), str(told.get("reason", ""))
    message = str(told.get("message", ""))
    first = time_of(told.get("startedAt"))
    last = time_of(told.get("finishedAt")) or 0.0
    exact = _exact(message, code)
    if exact is not None:
        began, ended = exact
        return Ended(code, reason, "", began or None, ended)
    if reason in NOT_STARTED:
        return Ended(code, reason, message, None, last, _sentence(reason, message))
    never = code == SKIPPED or not first
    return Ended(code, reason, message, None if never else first, last)


def _exact(message: str, code: int) -> tuple[float, float] | None:
    """The waiter's times; None when the message is not its own, or the cluster says otherwise."""
    try:
        told = json.loads(message)
        began, ended, said = float(told["began"]), float(told["ended"]), int(told["code"])
    except (ValueError, KeyError, TypeError):
        return None
    return (began, ended) if said == code and 0 <= began <= ended else None
