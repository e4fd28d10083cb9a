"""Finds DICOM instances in files and where their data sets lie, without loading them.

Reads the file meta information by hand (it is always Explicit VR Little Endian, PS3.10 7.1) and
asks pydicom only for the odd ones: no meta information, or without what a C-STORE needs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.errors import NotDicom
from gateway.dicom.sop_classes import Kind, is_uid, kind

_PREAMBLE = 132
_FIRST_READ = 4096
_MAX_META = 16 << 20
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2s2xL")
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})

_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


@dataclass(frozen=True)
class Instance:
    """A DICOM instance in a file: who it is and where its data set lies."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    """Where the data set begins, in bytes."""
    length: int
    """Length of the data set in bytes."""


def read_instance(path: Path) -> Instance:
    """Look into ``path``; raises NotDicom, or OSError when it cannot be read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_FIRST_READ)
        start = _PREAMBLE if head[128:132] == b"DICM" else 0
        if head[start : start + 2] == b"\x02\x00":
            meta, offset = _meta(head, file.fileno(), start, size)
            if all(meta.get(e) for e in (_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX)):
                return _checked(
                    path,
                    meta[_SOP_CLASS],
                    meta[_SOP_INSTANCE],
                    meta[_TRANSFER_SYNTAX],
                    offset,
                    size,
                )
            return _by_pydicom(path, offset, size, meta.get(_TRANSFER_SYNTAX, ""))
    # Without meta information the group of the first element is all there is to go by.
    if head[start : start + 2] not in (b"\x08\x00", b"\x04\x00"):
        raise NotDicom(f"{path} is no DICOM file")
    return _by_pydicom(path, start, size, "")


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Files among ``paths`` and below the folders among them, each folder in name order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, names, files in os.walk(path):
            names.sort()
            for name in sorted(files):
                yield Path(folder, name)


def _meta(head: bytes, fd: int, start: int, size: int) -> tuple[dict[int, str], int]:
    """Walk group 0002; returns UIDs by element and the offset of what follows.

    Walked, not jumped over by its group length: writers get that length wrong.
    """
    found: dict[int, str] = {}
    at = start
    while True:
        if len(head) - at < _LONG.size and len(head) < min(size, _MAX_META):
            head = os.pread(fd, min(size, len(head) * 4, _MAX_META), 0)
        if len(head) - at < _SHORT.size:
            return found, at
        group, element, vr, length = _SHORT.unpack_from(head, at)
        if group != 0x0002:
            return found, at
        width = _SHORT.size
        if vr in _LONG_VRS and len(head) - at >= _LONG.size:
            length = _LONG.unpack_from(head, at)[3]
            width = _LONG.size
        value_at = at + width
        at = value_at + length
        if at > size or at > _MAX_META:
            return found, min(at, size)
        if at > len(head):
            head = os.pread(fd, min(size, at + _FIRST_READ), 0)
        if vr == b"UI":
            found[element] = head[value_at:at].decode("ascii", "replace").strip(" \0")


def _by_pydicom(path: Path, offset: int, size: int, syntax: str) -> Instance:
    """For files without (whole) meta information: UIDs from the data set."""
    try:
        data_set = pydicom.dcmread(
            path,
            force=True,
            stop_before_pixels=True,
            specific_tags=["SOPClassUID", "SOPInstanceUID"],
        )
        sop_class = str(data_set.get("SOPClassUID", ""))
        sop_instance = str(data_set.get("SOPInstanceUID", ""))
    except (InvalidDicomError, ValueError, KeyError, NotImplementedError, EOFError) as error:
        raise NotDicom(f"{path} is no DICOM file: {type(error).__name__}") from error
    if not syntax:
        implicit = data_set.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return _checked(path, sop_class, sop_instance, str(syntax), offset, size)


def _checked(
    path: Path, sop_class: str, sop_instance: str, syntax: str, offset: int, size: int
) -> Instance:
    if not all(is_uid(uid) for uid in (sop_class, sop_instance, syntax)):
        raise NotDicom(f"{path} names no valid SOP class, SOP instance and transfer syntax UID")
    if kind(sop_class) is not Kind.STORAGE:
        raise NotDicom(f"{path} holds {sop_class}, which is not sent by C-STORE")
    return Instance(path, sop_class, sop_instance, syntax, offset, size - offset)
