"""What the gateway tells an operator: its inputs, outputs and job (contract, section 5)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.operators.sdk.data import Slot, find_slot
from gateway.operators.sdk.errors import InputRefusedError, UsageError
from gateway.operators.sdk.log import Log

if TYPE_CHECKING:
    import numpy as np

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
    data_inputs: tuple[Slot, ...] = ()
    data_outputs: tuple[Slot, ...] = ()

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

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Return the array that another operator wrote, read-only: a view of shared memory.

        Raises:
            UsageError: there is none of that name.
            InputRefusedError: DATA_MISMATCH, it is not as the definition declares it.
        """
        return find_slot(self.data_inputs, name, "input").read()

    def text(self, name: str) -> str:
        """Return the string that another operator wrote.

        Raises:
            UsageError: there is none of that name.
            InputRefusedError: NOT_TEXT, it is not UTF-8; DATA_MISMATCH as `array`.
        """
        try:
            return self.array(name).tobytes().decode()
        except UnicodeDecodeError as error:
            raise InputRefusedError("NOT_TEXT", f"{name!r} is not UTF-8") from error

    def number(self, name: str) -> int | float:
        """Return the number that another operator wrote.

        Raises:
            UsageError: there is none of that name.
            InputRefusedError: DATA_MISMATCH, it is not one number.
        """
        array = self.array(name)
        if array.size != 1:
            raise InputRefusedError("DATA_MISMATCH", f"{name!r} is not one number")
        value: int | float = array.item()
        return value

    def create_array(self, name: str, shape: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
        """Return an array of zeros in shared memory to fill in place: nothing is copied later.

        `shape` may be left out when the definition leaves no dimension open.

        Raises:
            UsageError: there is none of that name.
            OperatorError: DATA_MISMATCH or DATA_FULL.
        """
        return find_slot(self.data_outputs, name, "output").create(shape)

    def write_array(self, name: str, values: Any) -> None:
        """Copy an array into shared memory; errors as `create_array`."""
        find_slot(self.data_outputs, name, "output").write(values)

    def write_text(self, name: str, text: str) -> None:
        """Write a string for other operators; errors as `create_array`."""
        import numpy as np

        self.write_array(name, np.frombuffer(text.encode(), np.uint8))

    def write_number(self, name: str, value: float) -> None:
        """Write one number, in the declared type, for other operators; errors as `create_array`."""
        self.create_array(name)[0] = value

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
