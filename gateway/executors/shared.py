"""Data that operators hand on through shared memory: one NPY file for each output, on a tmpfs.

::

    /dev/shm/gateway-<job>-<attempt>/<operator>/<output>.npy

The operator that writes it sees its own folder, the ones that read it see the one file, read-only:
all map the same pages.  After the writer ended its file is checked by the letter, for it may be
hostile: a plain file, NumPy's header, the declared element, dimensions that fit, no byte more.  The
folder is removed when the job ends, and by :func:`clear` for an attempt that died.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.executors.limits import Cage
from gateway.executors.sandbox import Bind
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.cells import ELEMENTS, Cells, mismatch
from gateway.pipelines.model import DataOutput, Definition, Operator

ROOT = Path("/dev/shm")  # noqa: S108 - folders below it have unguessable names and are ours alone
"""File system in memory of every Linux machine."""
INPUTS = "GATEWAY_DATA_INPUTS"
OUTPUTS = "GATEWAY_DATA_OUTPUTS"
MAX_HEADER = 4096
"""Longest NPY header that is read, in bytes."""

_IN = "/run/gateway/in"
_OUT = "/run/gateway/out"
_MANY = 10_000
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<|][uif][1248])', 'fortran_order': False, "
    rb"'shape': \(([0-9, ]{0,1024})\), \} *\n"
)


class _UnfitError(Exception):
    """What is wrong with a file, as a sentence without its name."""


def folder(job_id: str, attempt: int) -> Path:
    """Where one attempt keeps its data."""
    return ROOT / f"gateway-{job_id}-{attempt}"


def clear(job_id: str, attempt: int) -> None:
    """Remove the data of an attempt, if there is any; OSError if that fails."""
    path = folder(job_id, attempt)
    if path.exists():
        shutil.rmtree(path)


def begin(run: JobRun) -> None:
    """Make the empty folder of an attempt whose operators hand data on."""
    clear(run.job_id, run.attempt)
    if any(operator.data_outputs for operator in run.definition.operators):
        folder(run.job_id, run.attempt).mkdir(mode=0o700)


def prepare(run: JobRun, operator: Operator) -> None:
    """Make the empty folder of an operator that writes data."""
    if operator.data_outputs:
        path = _folder(run, operator.name)
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(mode=0o700)


def binds(run: JobRun, operator: Operator) -> list[Bind]:
    """What the operator sees of it."""
    shown = [
        Bind(_folder(run, item.source) / _file(item.name), f"{_IN}/{_file(item.name)}")
        for item in operator.data_inputs
    ]
    if operator.data_outputs:
        shown.append(Bind(_folder(run, operator.name), _OUT, writable=True))
    return shown


def variables(operator: Operator) -> Mapping[str, str]:
    """What tells the operator where its data is and of what kind, as JSON."""
    found = {}
    if operator.data_inputs:
        found[INPUTS] = json.dumps([_told(i.name, _IN, i.cells) for i in operator.data_inputs])
    if operator.data_outputs:
        found[OUTPUTS] = json.dumps([_told(o.name, _OUT, o.cells) for o in operator.data_outputs])
    return found


def counted(cage: Cage, run: JobRun, operator: Operator) -> Cage:
    """``cage``, with what the operator writes to shared memory in the sum where it is watched.

    A control group counts it by itself.
    """
    if not cage.watched or not operator.data_outputs:
        return cage
    return _CountedCage(cage, _folder(run, operator.name), operator.requests.memory << 20)


def fault(run: JobRun, operator: Operator) -> OperatorEnd | None:
    """What is wrong with the data of an operator that ended well, or None.

    What it did not declare is removed.
    """
    if not operator.data_outputs:
        return None
    path = _folder(run, operator.name)
    try:
        _tidy(path, {_file(output.name) for output in operator.data_outputs})
        used = sum((path / _file(o.name)).lstat().st_blocks * 512 for o in _there(path, operator))
    except OSError as error:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"its data cannot be read: {error.strerror}", 0)
    if used > operator.requests.memory << 20:
        reason = f"its data needs more than the {operator.requests.memory} MB it asked for"
        return OperatorEnd(End.OUT_OF_MEMORY, reason, 0)
    for output in operator.data_outputs:
        found = _output_fault(run.definition, operator, output, path / _file(output.name))
        if found is not None:
            return found
    return None


def _folder(run: JobRun, operator: str) -> Path:
    return folder(run.job_id, run.attempt) / operator


def _file(name: str) -> str:
    return f"{name}.npy"


def _told(name: str, place: str, cells: Cells) -> Mapping[str, object]:
    return {
        "name": name,
        "path": f"{place}/{_file(name)}",
        "element-type": cells.element,
        "shape": list(cells.shape),
    }


def _there(path: Path, operator: Operator) -> Iterable[DataOutput]:
    return [o for o in operator.data_outputs if os.path.lexists(path / _file(o.name))]


def _tidy(path: Path, wanted: set[str]) -> None:
    """Remove everything but the files of the declared outputs."""
    with os.scandir(path) as entries:
        strange = [entry for entry in entries if entry.name not in wanted]
    for entry in strange:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def _output_fault(
    definition: Definition, operator: Operator, output: DataOutput, path: Path
) -> OperatorEnd | None:
    shown = f"output {output.name!r}"
    try:
        found = _cells(path)
    except FileNotFoundError:
        return OperatorEnd(End.OUTPUT_MISSING, f"{shown}: the operator wrote nothing", 0)
    except _UnfitError as error:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"{shown}: {error}", 0)
    except OSError as error:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"{shown} cannot be read: {error.strerror}", 0)
    why = mismatch(found, output.cells)
    if why is not None:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"{shown}: {why}", 0)
    for reader in definition.operators:
        for item in reader.data_inputs:
            if (item.source, item.name) == (operator.name, output.name):
                why = mismatch(found, item.cells)
                if why is not None:
                    reason = f"{shown}: {why}, which {reader.name!r} takes"
                    return OperatorEnd(End.OUTPUT_UNSAFE, reason, 0)
    return None


def _cells(path: Path) -> Cells:
    """What the file at ``path`` holds, without following a link; :class:`_UnfitError` if odd."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _UnfitError("is no plain file") from error
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _UnfitError("is no plain file")
        found, start = _header(os.pread(fd, MAX_HEADER, 0))
        if status.st_size != start + (found.size or 0):
            raise _UnfitError(f"has {status.st_size} bytes, and its header tells of {found}")
        os.fchmod(fd, 0o600)
    return found


def _header(head: bytes) -> tuple[Cells, int]:
    """What an NPY header tells, and where the data begins."""
    if head[:8] != _MAGIC:
        raise _UnfitError("is no NPY file of version 1.0")
    start = 10 + int.from_bytes(head[8:10], "little")
    match = _HEADER.fullmatch(head[10:start])
    if match is None or start > MAX_HEADER:
        raise _UnfitError("has a header that is not NumPy's for a plain array in C order")
    kind = match[1].decode()
    name = {"u": "uint", "i": "int", "f": "float"}[kind[1]] + str(8 * int(kind[2]))
    if name not in ELEMENTS:
        raise _UnfitError(f"has elements of the type {name}, which the language does not know")
    shape = tuple(int(part) for part in match[2].decode().split(",") if part.strip())
    if math.prod(shape) > 1 << 50:
        raise _UnfitError("has a header that tells of more than any machine holds")
    return Cells(name, shape), start


@dataclass
class _CountedCage:
    cage: Cage
    folder: Path
    limit: int
    watched: bool = True

    def enter(self, pid: int) -> None:
        self.cage.enter(pid)

    def exceeded(self, space: str) -> bool:
        return self.cage.exceeded(space) or self._used() > self.limit

    def close(self) -> None:
        self.cage.close()

    def _used(self) -> int:
        """Bytes of the files; folders and crowds, which nobody needs there, are too much."""
        used = 0
        with os.scandir(self.folder) as entries:
            for count, entry in enumerate(itertools.islice(entries, _MANY), 1):
                if entry.is_dir(follow_symlinks=False) or count == _MANY:
                    return self.limit + 1
                used += _blocks(entry)
        return used


def _blocks(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0
