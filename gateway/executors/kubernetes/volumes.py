"""What an operator's container sees of the payload, wherever it runs.

The gateway's data folder is one volume of the Pod, a folder of every node or a claim.  A container
never sees it whole: each of its mounts is one folder of the job, inputs read-only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gateway.config.kubernetes import KubernetesSettings
from gateway.executors.kubernetes.api import Object
from gateway.jobs.executor import JobRun
from gateway.pipelines import layout
from gateway.pipelines.model import Operator

DATA = "data"
"""The volume that holds the gateway's data folder."""
_HOST = "host-"


@dataclass(frozen=True)
class Shown:
    """A folder of the gateway's, or one file, at ``path`` in a container."""

    source: Path
    path: str
    writable: bool = False


def data_volume(settings: KubernetesSettings) -> Object:
    """The volume called :data:`DATA`."""
    if settings.claim is not None:
        return {"name": DATA, "persistentVolumeClaim": {"claimName": settings.claim}}
    return {"name": DATA, "hostPath": {"path": settings.host_path, "type": "Directory"}}


def mount(data_dir: Path, shown: Shown) -> Object:
    """``shown`` as a mount of the data volume; ``data_dir`` is what that volume holds."""
    return {
        "name": DATA,
        "mountPath": shown.path,
        "subPath": str(shown.source.relative_to(data_dir)),
        "readOnly": not shown.writable,
    }


def folders(run: JobRun, operator: Operator) -> list[Shown]:
    """Inputs and outputs of an operator at the paths of its definition."""
    shown = [
        Shown(layout.source_dir(run.folder, run.definition, item), item.path)
        for item in operator.inputs
    ]
    if not operator.outputs:
        folder = layout.operator_dir(run.folder, operator)
        return [*shown, Shown(folder, layout.private_output(operator), writable=True)]
    return shown + [
        Shown(layout.output_dir(run.folder, operator, o.name), o.path, writable=True)
        for o in operator.outputs
    ]


def outer_first(mounts: Iterable[Object]) -> list[Object]:
    """A mount hides what was mounted below it before."""
    return sorted(mounts, key=lambda each: str(each["mountPath"]).count("/"))


def host_volume(position: int, folder: str) -> tuple[Object, Object]:
    """A folder of the node for the operator at ``position``, read-only: its volume and mount."""
    name = f"{_HOST}{position}"
    return (
        {"name": name, "hostPath": {"path": folder, "type": "Directory"}},
        {"name": name, "mountPath": folder, "readOnly": True},
    )


def allowed(folder: str, host_volumes: Iterable[str]) -> bool:
    """True when operators may ask for ``folder``; links are the node's and not looked at here."""
    path = PurePosixPath(folder)
    return ".." not in path.parts and any(
        path.is_relative_to(PurePosixPath(each)) for each in host_volumes
    )
