"""Outputs before an operator starts and after it ended.

An operator may be wrong or hostile: what it leaves is looked at without following a single link,
before another operator or the delivery reads it.  Reasons never name a file, for operators name
files after patients.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gateway.jobs.claim import claimed
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.layout import operator_dir, operators_dir, output_dir
from gateway.pipelines.model import Operator

MAX_DEPTH = 64
"""Deepest folder below an output."""
MAX_ENTRIES = 1_000_000
"""Most files and folders in one output."""
FULL_BYTES = 4 << 20
"""With less free space than this a disk is called full."""


class _UnsafeError(Exception):
    """What is wrong with an output, as a sentence without file names."""


def clear(run: JobRun) -> None:
    """Empty the folder of all outputs, whatever a dead attempt left in it; kept ones stay.

    This and :func:`prepare` raise :class:`~gateway.jobs.claim.SupersededError`, an ``OSError``,
    when a later attempt has begun, and then change nothing.
    """
    folder = operators_dir(run.folder)
    with claimed(run.folder, run.attempt):
        if not run.kept and folder.exists():
            _remove(folder)
        folder.mkdir(parents=True, exist_ok=bool(run.kept))
        for entry in folder.iterdir():
            if entry.name not in run.kept:
                _remove(entry)


def prepare(run: JobRun, operator: Operator) -> None:
    """Make an operator's output folders, empty."""
    folder = operator_dir(run.folder, operator)
    with claimed(run.folder, run.attempt):
        if folder.exists():
            _remove(folder)
        folder.mkdir(parents=True)
        for output in operator.outputs:
            output_dir(run.folder, operator, output.name).mkdir(exist_ok=True)


def discard(run: JobRun, operator: Operator) -> None:
    """Remove the outputs of an operator that failed; what cannot be removed stays."""
    with contextlib.suppress(OSError), claimed(run.folder, run.attempt):
        _remove(operator_dir(run.folder, operator))


def fault(run: JobRun, operator: Operator) -> OperatorEnd | None:
    """What is wrong with the outputs of an operator that ended well, or None.

    On the way files and folders become readable and writable for the gateway, writable for nobody
    else and closed to other users.  A relative link that stays inside its output is allowed; any
    other link, and every special file, is not.
    """
    for output in operator.outputs:
        found = _output_fault(
            output_dir(run.folder, operator, output.name), output.name or output.path
        )
        if found is not None:
            return found
    if not operator.outputs:
        return _output_fault(operator_dir(run.folder, operator), None)
    return None


def full(run: JobRun) -> bool:
    """True when the disk that holds the outputs has no room left."""
    free = os.statvfs(operators_dir(run.folder))
    no_space = free.f_bavail * free.f_frsize < FULL_BYTES
    # Some file systems count no files at all.
    return no_space or (free.f_files > 0 and free.f_favail == 0)


def _output_fault(root: Path, name: str | None) -> OperatorEnd | None:
    """``name`` None = the private folder of an operator without outputs, which may stay empty."""
    shown = f"output {name!r}" if name else "its folder"
    try:
        files = _secure(root)
    except _UnsafeError as error:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"{shown}: {error}", 0)
    except OSError as error:
        return OperatorEnd(End.OUTPUT_UNSAFE, f"{shown} cannot be read: {error.strerror}", 0)
    if files == 0 and name is not None:
        return OperatorEnd(End.OUTPUT_MISSING, f"{shown}: the operator wrote nothing", 0)
    return None


def _secure(root: Path) -> int:
    """Check and set right everything below ``root``; returns how many regular files there are."""
    files = 0
    real = os.path.realpath(root)
    for count, (path, info) in enumerate(_walk(root), 1):
        if count > MAX_ENTRIES:
            raise _UnsafeError(f"more than {MAX_ENTRIES} files")
        _check_name(path.name)
        if stat.S_ISREG(info.st_mode):
            _set_mode(path, info, 0o600)
            files += 1
        elif stat.S_ISLNK(info.st_mode):
            _check_link(path, real)
        elif not stat.S_ISDIR(info.st_mode):
            raise _UnsafeError("holds a special file (a pipe, socket or device)")
    return files


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below ``root``, folders made readable before they are opened."""
    todo = [(root, 0)]
    while todo:
        folder, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise _UnsafeError(f"folders deeper than {MAX_DEPTH} levels")
        _set_mode(folder, folder.lstat(), 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                yield path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append((path, depth + 1))


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _UnsafeError("a file name is not UTF-8") from error
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise _UnsafeError("a file name holds a control character")


def _check_link(path: Path, real: str) -> None:
    if path.readlink().is_absolute():
        raise _UnsafeError("a link in it has an absolute target")
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        raise _UnsafeError("a link in it leads nowhere") from error
    if target != real and not target.startswith(real + os.sep):
        raise _UnsafeError("a link in it leads out of it")


def _set_mode(path: Path, info: os.stat_result, least: int) -> None:
    """At least ``least``, no set-user-id and the like, nothing for other users: it is a patient."""
    wanted = (stat.S_IMODE(info.st_mode) & 0o750) | least
    if wanted != stat.S_IMODE(info.st_mode):
        path.chmod(wanted)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # Folders without rights, or nested deeper than Python recurses: neither stops these two.
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(folder)], capture_output=True, check=False)
        if folder.exists():
            raise
