"""Reading the registrations an operator wrote, and making their files safe to keep.

The file named by ``NVIDIA_CLARA_RESULTS`` is JSON::

    {"version": 1, "registrations": [
      {"agent": "ClaraSCU", "parameters": ["PACS"] or null,
       "files": [{"input": "<name or path of one of the operator's inputs>",
                  "path": "<relative path in that input>"}]}]}

It comes from an operator, so everything in it is checked: sizes, counts, names, and that every
file is a plain file below the job payload.  A fault is a :class:`RegistrationError` whose sentence
becomes the reason of the FAULTED job.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.errors import Permanent
from gateway.events import faults
from gateway.pipelines.layout import results_file, source_dir
from gateway.pipelines.model import Definition, Input, Operator
from gateway.results.files import Identity, identify, opened, relative, shown, sync_folders

MOST_BYTES = 64 * 1024 * 1024
"""Largest registrations file."""
MOST_REGISTRATIONS = 1000
"""Most registrations of one operator."""
MOST_FILES = 100_000
"""Most files of one operator, over all its registrations."""
MOST_PARAMETERS = 100
"""Most destinations (elements of ``--data``) of one registration."""
MOST_PARAMETER_BYTES = 16 * 1024
"""Longest JSON text of one element of ``--data``."""

_AGENT = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")


class RegistrationError(Permanent):
    """What an operator registered cannot become a result."""


@dataclass(frozen=True)
class RegisteredFile:
    """One file of a registration, on disk for good."""

    path: str
    """Relative to the job payload: ``operators/<operator>/…`` (or ``input/…``)."""
    size: int
    identity: Identity | None
    """None = no DICOM file."""


@dataclass(frozen=True)
class Registration:
    """What one ``register`` call asked for."""

    agent: str
    parameters: tuple[Any, ...] | None
    """One JSON value per destination; None = the rule's destinations."""
    files: tuple[RegisteredFile, ...]


def collect(folder: Path, definition: Definition, operator_name: str) -> list[Registration]:
    """Read what the operator registered; empty when it registered nothing.

    ``folder`` is the job payload.  When this returns, every registered file and the folders above
    it are flushed to disk.  Pure file work; raises :class:`~gateway.errors.Permanent` with the
    reason when anything about it is wrong.
    """
    operator = definition.operator(operator_name)
    document = _read(folder, operator)
    if document is None:
        return []
    reader = _Reader(folder, definition, operator)
    registrations = [reader.registration(item) for item in _items(document)]
    paths = {PurePosixPath(f.path) for r in registrations for f in r.files}
    sync_folders(folder, paths)
    faults.point("results.collected")
    return registrations


def _read(folder: Path, operator: Operator) -> object | None:
    """The parsed registrations file, or None when the operator wrote none."""
    place = results_file(folder, operator)
    if not os.path.lexists(place):
        return None
    with opened(folder, PurePosixPath(place.relative_to(folder))) as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise RegistrationError(f"The registrations of {operator.name} exceed {MOST_BYTES} bytes.")
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegistrationError(f"The registrations of {operator.name} are no JSON.") from error
    return document


def _items(document: object) -> list[object]:
    if not isinstance(document, dict) or document.get("version") != 1:
        raise RegistrationError("The registrations are not of version 1.")
    items = document.get("registrations")
    if set(document) != {"version", "registrations"} or not isinstance(items, list):
        raise RegistrationError("The registrations hold other keys than version and registrations.")
    if len(items) > MOST_REGISTRATIONS:
        raise RegistrationError(f"More than {MOST_REGISTRATIONS} registrations.")
    return items


class _Reader:
    """Turns checked JSON into registrations; remembers what it has looked at."""

    def __init__(self, folder: Path, definition: Definition, operator: Operator) -> None:
        self._folder = folder
        self._definition = definition
        self._operator = operator
        self._seen: dict[PurePosixPath, RegisteredFile] = {}
        self._count = 0

    def registration(self, item: object) -> Registration:
        if not isinstance(item, dict) or set(item) - {"agent", "parameters", "files"}:
            raise RegistrationError("A registration holds agent, parameters and files, no more.")
        agent = item.get("agent")
        if not isinstance(agent, str) or not _AGENT.fullmatch(agent):
            raise RegistrationError(
                "An agent's name is 1 to 64 letters, digits and hyphens, begins with a letter and "
                "does not end with a hyphen."
            )
        entries = item.get("files")
        if not isinstance(entries, list) or not entries:
            raise RegistrationError(f"The registration for {agent} names no file.")
        self._count += len(entries)
        if self._count > MOST_FILES:
            raise RegistrationError(f"More than {MOST_FILES} files are registered.")
        files = {file.path: file for file in map(self._file, entries)}
        unique = _without_copies(self._folder, files.values())
        return Registration(agent, _parameters(agent, item.get("parameters")), unique)

    def _file(self, entry: object) -> RegisteredFile:
        if not isinstance(entry, dict) or set(entry) != {"input", "path"}:
            raise RegistrationError("A registered file is given by input and path.")
        label, text = entry["input"], entry["path"]
        if not isinstance(label, str) or not isinstance(text, str):
            raise RegistrationError("Input and path of a registered file are texts.")
        path = self._place(label) / relative(text)
        known = self._seen.get(path)
        if known is None:
            known = self._seen[path] = _keep(self._folder, path)
        return known

    def _place(self, label: str) -> PurePosixPath:
        """Where the input called ``label`` (its name, or its path in the operator) really lies."""
        inputs = self._operator.inputs
        matches = [i for i in inputs if i.path.rstrip("/") == label.rstrip("/")]
        matches = matches or [i for i in inputs if _label(i) == label]
        if len(matches) != 1:
            names = ", ".join(_label(i) for i in inputs) or "none"
            raise RegistrationError(
                f"{self._operator.name} has no single input {label[:64]!r} (it has: {names})."
            )
        place = source_dir(self._folder, self._definition, matches[0])
        return PurePosixPath(place.relative_to(self._folder))


def _label(entry: Input) -> str:
    return entry.name or PurePosixPath(entry.path).name


def _keep(folder: Path, path: PurePosixPath) -> RegisteredFile:
    """Look at one file and flush it to disk."""
    with opened(folder, path) as file:
        identity = identify(file, str(path))
        os.fsync(file.fileno())
        return RegisteredFile(str(path), os.fstat(file.fileno()).st_size, identity)


def _parameters(agent: str, value: object) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or len(value) > MOST_PARAMETERS:
        raise RegistrationError(
            f"The parameters (--data) for {agent} are a list of 1 to {MOST_PARAMETERS} elements."
        )
    if any(len(json.dumps(element)) > MOST_PARAMETER_BYTES for element in value):
        raise RegistrationError(f"A parameter for {agent} exceeds {MOST_PARAMETER_BYTES} bytes.")
    return tuple(value)


def _without_copies(folder: Path, files: Iterable[RegisteredFile]) -> tuple[RegisteredFile, ...]:
    """Drop a second copy of the same instance; refuse two contents under one SOP Instance UID."""
    kept: dict[str, RegisteredFile] = {}
    for file in files:
        key = file.identity.sop_instance_uid if file.identity else file.path
        first = kept.setdefault(key, file)
        if first is not file and not filecmp.cmp(
            folder / first.path, folder / file.path, shallow=False
        ):
            raise RegistrationError(
                f"{shown(first.path)!r} and {shown(file.path)!r} hold different data under one "
                "SOP Instance UID."
            )
    return tuple(kept.values())
