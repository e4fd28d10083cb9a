"""What a Workflow's status says, read into the same facts as a Pod's.

Pure.  Argo tells of each operator by a node: of type ``Pod`` in a DAG, ``Container`` in a
``containerSet``.  A node knows that its operator runs or ended, and in one sentence why; when
exactly it began, and which image it is, only its Pod knows, as long as there is one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.executors.argo.api import MAIN, OPERATOR
from gateway.executors.kubernetes import status
from gateway.executors.kubernetes.api import Object
from gateway.executors.kubernetes.names import container_name
from gateway.executors.kubernetes.status import NOT_STARTED, Container, Ended, Facts, time_of
from gateway.pipelines.graph import levels
from gateway.pipelines.model import Definition

DELETED = "its Workflow was deleted by somebody else"
_OVER = {"Succeeded": "Succeeded", "Failed": "Failed", "Error": "Failed"}
_KINDS = frozenset({"Pod", "Container"})
_INVALID = "invalid spec"
_UNSCHEDULABLE = "Unschedulable"
_EMISSARY = 64
"""Exit code of the program that Argo puts before an operator's, when it is that which fails."""
_CODE = re.compile(
    r"(?:(?P<name>[-a-z0-9]+): )?(?P<reason>\w*) ?\(exit code (?P<code>\d+)\)(?:: ?(?P<said>.*))?",
    re.DOTALL,
)
_DEPENDENCY = "dependency "
_NO_PROGRAM = "failed to find name in PATH"
_CONTAINER_LOST = frozenset({"Pod Failed whilst container running", "container deleted"})
_MOST_WORDS = 500
_MOST_BYTES = 16 << 20
"""Nodes that take more than this, unpacked, are not looked at."""


@dataclass(frozen=True)
class Told:
    """What a Workflow tells."""

    facts: Facts
    lost: Mapping[str, str]
    """Operators that the cluster took away, by their containers' names, and why."""
    refused: str | None = None
    """Why Argo will never run it."""


@dataclass(frozen=True)
class Node:
    """What Argo knows of one operator."""

    name: str
    phase: str
    message: str
    started: float | None
    finished: float | None
    code: int | None


def read(workflow: Object, pods: Iterable[Object], definition: Definition) -> Told:
    """What a Workflow and those of its Pods that are there tell of a job."""
    known = containers_of(pods)
    found: dict[str, Container] = {}
    lost: dict[str, str] = {}
    held: str | None = None
    every = nodes(workflow)
    mine = [container_name(definition, o) for o in definition.operators]
    whole = next((n.message for n in every.values() if n.name not in mine), "")
    for node in (every[name] for name in mine if name in every):
        told = _container(node, known.get(node.name))
        if isinstance(told, str):
            # Of a Pod that is gone its containers know nothing.
            lost[node.name] = whole if whole and told in _CONTAINER_LOST else told
        else:
            found[node.name] = told
        if node.phase == "Pending" and node.message.startswith(_UNSCHEDULABLE):
            held = node.message
    phase, message = phase_of(workflow), _words(workflow.get("status", {}).get("message"))
    if phase == "Pending" and message:
        held = held or message
    refused = message if phase in _OVER and message.startswith(_INVALID) else None
    facts = Facts(
        uid=workflow["metadata"]["uid"],
        # What was taken away is told operator by operator.
        phase="Running" if lost or refused else _OVER.get(phase, "Running"),
        containers=_in_order(found, definition),
        deleting="deletionTimestamp" in workflow["metadata"],
        trouble=_trouble(workflow, found, phase, message),
        unschedulable=held,
    )
    return Told(facts, lost, refused)


def phase_of(workflow: Object) -> str:
    """The phase of a Workflow; empty until Argo has seen it."""
    return str(workflow.get("status", {}).get("phase") or "")


def over(workflow: Object) -> bool:
    """True when Argo begins nothing of the Workflow any more."""
    return phase_of(workflow) in _OVER


def phases(workflow: Object) -> Mapping[str, str]:
    """Each operator's phase."""
    return {name: node.phase for name, node in nodes(workflow).items()}


def nodes(workflow: Object) -> Mapping[str, Node]:
    """The nodes that are operators, by their containers' names, and the Pod of a whole job."""
    told = workflow.get("status", {})
    every = told.get("nodes") or _unpacked(told.get("compressedNodes") or "")
    return {
        node.name: node for each in every.values() if each.get("type") in _KINDS
        for node in [_node(each)]
    }  # fmt: skip


def containers_of(pods: Iterable[Object]) -> Mapping[str, Container]:
    """What Pods tell of operators, by their containers' names in a Workflow."""
    found: dict[str, Container] = {}
    for pod in sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp"))):
        only = pod["metadata"].get("labels", {}).get(OPERATOR)
        for name, told in status.read(pod).containers.items():
            if only is None:
                found[name] = told
            elif name == MAIN:
                found[only] = replace(told, name=only)
    return found


def active(pods: Iterable[Object]) -> list[Object]:
    """The Pods of which something may run."""
    return [p for p in pods if p.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def _node(told: Object) -> Node:
    code = str((told.get("outputs") or {}).get("exitCode") or "")
    name = str(told.get("displayName") or told.get("name", "")).rpartition(".")[2]
    return Node(
        name=name,
        phase=str(told.get("phase") or "Pending"),
        message=_words(told.get("message")),
        started=time_of(told.get("startedAt")),
        finished=time_of(told.get("finishedAt")),
        code=int(code) if code.isdecimal() else None,
    )


def _container(node: Node, known: Container | None) -> Container | str:
    """An operator's container; the reason as text when the cluster took it away."""
    image = None if known is None else known.image
    if node.phase == "Running":
        return Container(node.name, image, running_since=_began(node, known))
    if node.phase == "Succeeded":
        return Container(node.name, image, ended=_end(node, known, 0, "Completed", ""))
    if node.phase not in ("Failed", "Error"):
        reason, _, message = node.message.partition(": ")
        return status.held_up(node.name, image, reason, message)
    ended = _failed(node, known)
    return ended if isinstance(ended, str) else Container(node.name, image, ended=ended)


def _failed(node: Node, known: Container | None) -> Ended | str:
    told = _CODE.fullmatch(node.message)
    if told is None:
        if node.code and not node.message:
            return _end(node, known, node.code, "Error", "")
        # Nothing of the operator's own: evicted, deleted, late.
        return node.message or f"Argo calls it {node.phase} and says nothing of it"
    code, reason, said = int(told["code"]), told["reason"], told["said"] or ""
    ended = _end(node, known, code, reason, said)
    if code == _EMISSARY and said.startswith(_DEPENDENCY):
        return replace(ended, began=None)
    if reason in NOT_STARTED or (code == _EMISSARY and _NO_PROGRAM in said):
        return replace(ended, began=None, unstartable=said or reason)
    # What Argo adds to a Pod ends in error too; older ones do not say whose the code is.
    own = told["name"] in (MAIN, node.name) if told["name"] else node.phase == "Failed"
    return ended if own else node.message


def _end(node: Node, known: Container | None, code: int, reason: str, said: str) -> Ended:
    """The end of an operator: as its Pod tells it, else as its node does."""
    pod = None if known is None else known.ended
    finished = node.finished or 0.0
    if pod is not None:
        finished = pod.ended or finished
        reason = pod.reason or reason
    began = _began(node, known)
    return Ended(code, reason, said, finished if began is None else began, finished)


def _began(node: Node, known: Container | None) -> float | None:
    """When its container began, else when Argo began to make its Pod."""
    if known is None:
        return node.started
    pod = known.ended.began if known.ended else known.running_since
    return node.started if pod is None else pod


def _in_order(found: Mapping[str, Container], definition: Definition) -> Mapping[str, Container]:
    """No operator begins before those it reads from ended, though its container waits already."""
    known = dict(found)
    for name in (name for level in levels(definition) for name in level):
        operator = definition.operator(name)
        mine = known.get(container_name(definition, operator))
        if mine is None or mine.ended is None or mine.ended.began is None:
            continue
        before = [
            other.ended.ended
            for up in operator.upstream
            if (other := known.get(container_name(definition, definition.operator(up))))
            and other.ended is not None
        ]
        began = max([mine.ended.began, *before])
        known[mine.name] = replace(
            mine, ended=replace(mine.ended, began=began, ended=max(began, mine.ended.ended))
        )
    return known


def _trouble(
    workflow: Object, found: Mapping[str, Container], phase: str, message: str
) -> str | None:
    """Why the Workflow as a whole is no more, where no operator of it failed by itself."""
    if "deletionTimestamp" in workflow["metadata"]:
        return DELETED
    failed = any(each.ended is not None and each.ended.code for each in found.values())
    if phase not in _OVER or failed:
        return None
    return f"its Workflow ended ({phase})" + (f": {message}" if message else "")


def _words(text: object) -> str:
    """What Argo says, on one line."""
    return " ".join(str(text or "").split())[:_MOST_WORDS]


def _unpacked(text: str) -> Mapping[str, Object]:
    """Nodes that were too many to be stored plainly; none when they cannot be read."""
    if not text:
        return {}
    try:
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        data = unpack.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        found = json.loads(data)
    except (binascii.Error, zlib.error, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
