"""What the gateway tells an operator: its inputs, outputs and job (contract, section 5)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.operators.sdk.errors import UsageError
from gateway.operators.sdk.log import Log

INPUTS = "NVIDIA_CLARA_INPUTPATHS"
OUTPUTS = "NVIDIA_CLARA_OUTPUTPATHS"


@dataclass(frozen=True, slots=True)
class Mount:
    """A named folder that an operator reads from or writes to."""

    name: str
    path: Path


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read `name:path` entries joined by `;`, in the order of the definition.

    An entry without a name takes the last component of its path.

    Raises:
        UsageError: an entry has no path, or a name stands twice.
    """
    mounts = tuple(_parse_mount(entry) for entry in text.split(";") if entry.strip())
    names = [mount.name for mount in mounts]
    for name in names:
        if names.count(name) > 1:
            raise UsageError("MOUNT_TWICE", f"the name {name!r} stands twice")
    return mounts


def _parse_mount(entry: str) -> Mount:
    name, colon, path = entry.strip().partition(":")
    if not colon:
        name, path = "", name
    if not path:
        raise UsageError("MOUNT_WITHOUT_PATH", f"the entry {entry!r} names no path")
    return Mount(name or Path(path).name, Path(path))


@dataclass(frozen=True, slots=True)
class Context:
    """All that one run of an operator is told.

    `options` holds the operator's own command-line options; `results` is the file for
    registrations, where the gateway gave one. Values the gateway did not give are empty.
    """

    inputs: tuple[Mount, ...]
    outputs: tuple[Mount, ...]
    job_id: str
    job_name: str
    payload_id: str
    stage_name: str
    results: Path | None
    environ: Mapping[str, str]
    options: Namespace
    log: Log

    def input(self, name: str | None = None) -> Path:
        """Return the input of that name, or the first one.

        Raises:
            UsageError: there is none.
        """
        return _find(self.inputs, name, "input", INPUTS)

    def output(self, name: str | None = None) -> Path:
        """Return the output of that name, or the first one.

        Raises:
            UsageError: there is none.
        """
        return _find(self.outputs, name, "output", OUTPUTS)

    def has_input(self, name: str) -> bool:
        """Say whether an input of that name was given."""
        return any(mount.name == name for mount in self.inputs)


def _find(mounts: Sequence[Mount], name: str | None, kind: str, variable: str) -> Path:
    for mount in mounts:
        if name is None or mount.name == name:
            return mount.path
    wanted = f"{kind} named {name!r}" if name else kind
    known = ", ".join(mount.name for mount in mounts) or "none"
    raise UsageError(
        f"NO_{kind.upper()}", f"no {wanted}: give --{kind} or set {variable} (given: {known})"
    )
