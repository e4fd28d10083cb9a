"""Opening what an operator left behind, without following it anywhere.

Operators are not trusted with paths: every component is opened relative to its parent with
``O_NOFOLLOW``, so no symbolic link, ``..`` or race can lead out of the job payload.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError

from gateway.errors import Permanent

MOST_PATH = 1024
"""Longest relative path of a registered file, in characters."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not hang before its type is looked at.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class UnsafeFile(Permanent):
    """A registered path that is not a plain file below the job payload."""


@dataclass(frozen=True)
class Identity:
    """What a DICOM file is; UIDs are checked to be there and to fit the schema."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_instance_uid: str | None


def relative(text: str) -> PurePosixPath:
    """``text`` as a relative path of plain components; raises :class:`UnsafeFile`."""
    path = PurePosixPath(text)
    bad = (
        not text
        or len(text) > MOST_PATH
        or path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or any(ord(character) < 0x20 for character in text)
    )
    if bad:
        raise UnsafeFile(
            f"The path {shown(text)!r} is not allowed: relative to its input, no '..', no control "
            f"characters, 1 to {MOST_PATH} characters."
        )
    return path


def shown(text: str) -> str:
    """``text`` fit for a log or a reason: identifiers of patients hidden (contract, section 9)."""
    parts = PurePosixPath(text).parts
    if parts[:1] == ("input",) and len(parts) > 2:
        return f"input/{parts[1]}/*/{parts[-1]}"
    return text[:200]


@contextmanager
def opened(folder: Path, path: PurePosixPath) -> Iterator[BinaryIO]:
    """Open the plain file ``path`` below ``folder`` for reading.

    Raises :class:`UnsafeFile` when it is missing, a link or no plain file, or lies behind a link.
    """
    try:
        descriptor = _descend(folder, path)
    except OSError as error:
        raise UnsafeFile(
            f"{shown(str(path))!r} cannot be opened without following links: {error.strerror}."
        ) from error
    # Looked at before fdopen(), which raises for a folder and would leave the descriptor open.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFile(f"{shown(str(path))!r} is no plain file.")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _descend(folder: Path, path: PurePosixPath) -> int:
    """Open every component of ``path`` from its parent; returns the file's descriptor."""
    here = os.open(folder, _FOLDER)
    try:
        for component in path.parts[:-1]:
            inner = os.open(component, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(path.parts[-1], _FILE, dir_fd=here)
    finally:
        os.close(here)


def sync_folders(folder: Path, paths: set[PurePosixPath]) -> None:
    """Make the names of ``paths`` (files below ``folder``) survive a power cut."""
    folders = {parent for path in paths for parent in path.parents}
    for each in sorted(folders, key=lambda parent: len(parent.parts), reverse=True):
        descriptor = os.open(folder / each, _FOLDER)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def identify(file: BinaryIO, path: str) -> Identity | None:
    """Say which instance the open file is; None when it is no DICOM file (PS3.10, section 7.1).

    Raises :class:`UnsafeFile` for a DICOM file that could never be stored anywhere: one without
    SOP Class or SOP Instance UID, or whose file meta information names another instance.
    """
    try:
        dataset = pydicom.dcmread(
            file,
            stop_before_pixels=True,
            specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"],
        )
    except InvalidDicomError:
        return None
    except (EOFError, ValueError, KeyError, NotImplementedError, OSError) as error:
        raise UnsafeFile(
            f"{shown(path)!r} begins like a DICOM file but cannot be read ({type(error).__name__})."
        ) from error
    meta = dataset.file_meta
    uid, sop_class = (str(dataset.get(k) or "") for k in ("SOPInstanceUID", "SOPClassUID"))
    syntax = str(meta.get("TransferSyntaxUID") or "")
    if not (_fits(uid) and _fits(sop_class) and _fits(syntax)):
        raise UnsafeFile(
            f"{shown(path)!r} is a DICOM file without a usable SOP Instance UID, SOP Class UID or "
            "Transfer Syntax UID."
        )
    if str(meta.get("MediaStorageSOPInstanceUID", uid)) != uid:
        raise UnsafeFile(
            f"{shown(path)!r} names one SOP Instance UID in its file meta information and another "
            "in its data set."
        )
    series = str(dataset.get("SeriesInstanceUID") or "")
    return Identity(uid, sop_class, syntax, series if _fits(series) else None)


def _fits(uid: str) -> bool:
    return 0 < len(uid) <= 64 and set(uid) <= set("0123456789.")
