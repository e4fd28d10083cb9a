"""MONAI application packages (MAP), of MONAI Deploy and of Holoscan, run unchanged.

A package says in ``app.json`` what to run and where it looks for its input, and in ``pkg.json``
what it needs.  Both lie under ``/etc/monai`` or ``/etc/holoscan`` in the image.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from gateway.executors.container.layouts.base import Staged, inputs, outputs
from gateway.executors.sandbox import Bind
from gateway.jobs.executor import JobRun
from gateway.pipelines.model import Operator

FOLDERS = ("/etc/monai", "/etc/holoscan")
"""Where a package keeps its manifests; looked at in this order."""
APPLICATION, PACKAGE = "app.json", "pkg.json"

_UNITS = {"": 1 / (1 << 20), "Ki": 1 / 1024, "Mi": 1, "Gi": 1024, "Ti": 1 << 20}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself."""

    folder: str
    """``/etc/monai`` or ``/etc/holoscan``."""
    command: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    working: str | None = None
    input: str | None = None
    """Absolute path at which it looks for its input by itself."""
    output: str | None = None
    models: tuple[str, ...] = ()
    memory_mb: int | None = None
    gpus: int = 0


def manifest(folder: str, application: bytes, package: bytes | None) -> Manifest:
    """Read the manifests found in ``folder``; ValueError when they are none."""
    app = _object(application, APPLICATION)
    pkg = {} if package is None else _object(package, PACKAGE)
    working = _text(app, "working-directory", "workingDirectory")
    needs = pkg.get("resources")
    needs = needs if isinstance(needs, dict) else {}
    return Manifest(
        folder=folder,
        command=_command(app.get("command")),
        environ=_environ(app.get("environment")),
        working=working,
        input=_path(app.get("input"), working),
        output=_path(app.get("output"), working),
        models=_models(pkg.get("models")),
        memory_mb=_megabytes(needs.get("memory")),
        gpus=needs["gpu"] if isinstance(needs.get("gpu"), int) else 0,
    )


@dataclass(frozen=True)
class PackageLayout:
    """The folders of one package: its first input and first output of the definition."""

    manifest: Manifest
    image_environ: Mapping[str, str]

    def stage(self, job: JobRun, operator: Operator) -> Staged:
        """The definition's folders, and the first of them where the package looks too."""
        reads, writes = inputs(job, operator), outputs(job, operator)
        binds = [*reads, *writes]
        taken = {bind.path for bind in binds}
        for first, own in ((reads[:1], self.manifest.input), (writes[:1], self.manifest.output)):
            if first and own is not None and own not in taken:
                binds.append(Bind(first[0].source, own, writable=first[0].writable))
        environ = {
            **self.manifest.environ,
            **self._models(),
            **paths(reads[0].path if reads else None, writes[0].path),
        }
        return Staged(
            binds=tuple(binds),
            environ=environ,
            command=self.manifest.command,
            folder=self.manifest.working,
            notes=self._notes(operator),
        )

    def _models(self) -> Mapping[str, str]:
        """Where the models are: as the image says, else as the manifest does, else as usual."""
        own = self.image_environ
        place = own.get("MONAI_MODELPATH") or own.get("HOLOSCAN_MODEL_PATH")
        if place is None and self.manifest.models:
            place = str(PurePosixPath(self.manifest.models[0]).parent)
        place = place or f"/opt/{PurePosixPath(self.manifest.folder).name}/models"
        return {"MONAI_MODELPATH": place, "HOLOSCAN_MODEL_PATH": place}

    def _notes(self, operator: Operator) -> tuple[str, ...]:
        notes = []
        needs, given = self.manifest.memory_mb, operator.requests.memory
        if needs is not None and needs > given:
            notes.append(f"the package asks for {needs} MB, the definition gives it {given} MB")
        if self.manifest.gpus > operator.requests.gpu:
            notes.append(
                f"the package asks for {self.manifest.gpus} GPU, the definition gives it "
                f"{operator.requests.gpu}"
            )
        return tuple(notes)


def paths(source: str | None, target: str) -> dict[str, str]:
    """The names by which packages, old and new, are told their folders."""
    told = {"MONAI_OUTPUTPATH": target, "HOLOSCAN_OUTPUT_PATH": target}
    if source is not None:
        told |= {"MONAI_INPUTPATH": source, "HOLOSCAN_INPUT_PATH": source}
    return told


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ValueError(f"its {name} is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"its {name} is no JSON object")  # noqa: TRY004 - a value, not a type
    return found


def _command(told: Any) -> tuple[str, ...]:
    """A list, a list as text (Holoscan's packager), or a line of words."""
    if isinstance(told, str) and told.lstrip().startswith("["):
        told = _listed(told)
    if isinstance(told, list):
        return tuple(str(part) for part in told)
    return tuple(shlex.split(told)) if isinstance(told, str) else ()


def _listed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _environ(told: Any) -> dict[str, str]:
    if not isinstance(told, dict):
        return {}
    return {name: str(value) for name, value in told.items() if _VARIABLE.fullmatch(name)}


def _text(told: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        if isinstance(told.get(name), str) and told[name].startswith("/"):
            return str(told[name])
    return None


def _path(told: Any, working: str | None) -> str | None:
    """A folder of the manifest, made absolute; None when it leads nowhere sensible."""
    text = told.get("path") if isinstance(told, dict) else None
    if not isinstance(text, str) or not text:
        return None
    path = PurePosixPath(working or "/", text)
    return None if ".." in path.parts or path == PurePosixPath("/") else str(path)


def _models(told: Any) -> tuple[str, ...]:
    entries = list(told.values()) if isinstance(told, dict) else told
    if not isinstance(entries, list):
        return ()
    found = [e.get("path") if isinstance(e, dict) else e for e in entries]
    return tuple(path for path in found if isinstance(path, str) and path.startswith("/"))


def _megabytes(told: Any) -> int | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(|Ki|Mi|Gi|Ti)", str(told))
    return None if match is None else int(float(match[1]) * _UNITS[match[2]])
