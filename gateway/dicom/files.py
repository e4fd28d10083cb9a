"""Finds DICOM instances in files and where their data sets lie, without loading them.

Reads the file meta information by hand (it is always Explicit VR Little Endian, PS3.10 7.1) and
asks pydicom only for the odd ones: no meta information, or without what a C-STORE needs.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.dicom.errors import NotDicom
from gateway.dicom.sop_classes import Kind, is_uid, kind

_PREAMBLE = 132
_FIRST_READ = 4096
_MAX_META = 16 << 20
_TAG, _TAG_BIG = struct.Struct("<HH"), struct.Struct(">HH")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2s2xL")
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})

_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010
_WANTED = frozenset({_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX})
_TAG_SOP_CLASS, _TAG_SOP_INSTANCE = 0x00080016, 0x00080018


@dataclass(frozen=True, slots=True)
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
    """Look into ``path``; raises NotDicom, or OSError when it cannot be read.

    SOP class and instance are those of the data set: the copies in the file meta information
    are wrong in some files, and a receiver refuses a command that differs from its data set.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _look(path, fd)
    finally:
        os.close(fd)


def _look(path: Path, fd: int) -> Instance:
    size = os.fstat(fd).st_size
    head = os.pread(fd, _FIRST_READ, 0)
    start = _PREAMBLE if head[128:132] == b"DICM" else 0
    if head[start : start + 2] == b"\x02\x00":
        meta, offset = _meta(head, fd, start, size)
        syntax = meta.get(_TRANSFER_SYNTAX, "")
        uids = _uids(head, fd, offset, syntax)
        if uids is None:
            return _by_pydicom(path, offset, size, meta)
        sop_class = uids[0] or meta.get(_SOP_CLASS, "")
        sop_instance = uids[1] or meta.get(_SOP_INSTANCE, "")
        return _checked(path, sop_class, sop_instance, syntax, offset, size)
    # Without meta information the group of the first element is all there is to go by.
    if head[start : start + 2] not in (b"\x08\x00", b"\x04\x00"):
        raise NotDicom(f"{path} is no DICOM file")
    return _by_pydicom(path, start, size, {})


def _uids(head: bytes, fd: int, offset: int, syntax: str) -> tuple[str, str] | None:
    """The UIDs of the data set at ``offset``: from what was read already, else from the file."""
    if not syntax:
        return None
    found = sop_uids(head[offset:], syntax)
    return sop_uids(os.pread(fd, _FIRST_READ, offset), syntax) if found is None else found


def sop_uids(data: bytes, transfer_syntax_uid: str) -> tuple[str, str] | None:
    """SOP Class and Instance UID from the first bytes of a data set; empty when absent.

    None when the walk meets something that needs a real parser: a sequence of undefined length,
    a wrong VR, or the end of ``data``.
    """
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _FIRST_READ)
        except zlib.error:
            return None
    implicit = transfer_syntax_uid == ImplicitVRLittleEndian
    tags, order = (_TAG_BIG, ">") if transfer_syntax_uid == ExplicitVRBigEndian else (_TAG, "<")
    found = {_TAG_SOP_CLASS: "", _TAG_SOP_INSTANCE: ""}
    at = 0
    while len(data) - at >= 12:
        group, element = tags.unpack_from(data, at)
        tag = group << 16 | element
        if tag > _TAG_SOP_INSTANCE:
            return found[_TAG_SOP_CLASS], found[_TAG_SOP_INSTANCE]
        length, value_at = _length(data, at, order, implicit=implicit)
        if length is None:
            return None
        at = value_at + length
        if tag in found and at <= len(data):
            found[tag] = data[value_at:at].decode("ascii", "replace").strip(" \0")
    return None


def _length(data: bytes, at: int, order: str, *, implicit: bool) -> tuple[int | None, int]:
    """Length of the element at ``at`` and where its value lies; None = not to be walked over."""
    if implicit:
        length, value_at = struct.unpack_from(f"{order}L", data, at + 4)[0], at + 8
    else:
        vr = data[at + 4 : at + 6]
        if not (vr.isalpha() and vr.isupper()):
            return None, at
        if vr in _LONG_VRS:
            length, value_at = struct.unpack_from(f"{order}L", data, at + 8)[0], at + 12
        else:
            length, value_at = struct.unpack_from(f"{order}H", data, at + 6)[0], at + 8
    return (None if length == 0xFFFFFFFF else length), value_at


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
        if element in _WANTED and vr == b"UI":
            found[element] = head[value_at:at].decode("ascii", "replace").strip(" \0")


def _by_pydicom(path: Path, offset: int, size: int, meta: dict[int, str]) -> Instance:
    """For files that the walk does not understand."""
    try:
        data_set = pydicom.dcmread(
            path,
            force=True,
            stop_before_pixels=True,
            specific_tags=["SOPClassUID", "SOPInstanceUID"],
        )
        sop_class = str(data_set.get("SOPClassUID", "")) or meta.get(_SOP_CLASS, "")
        sop_instance = str(data_set.get("SOPInstanceUID", "")) or meta.get(_SOP_INSTANCE, "")
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; the parser's own OSErrors have no number
        # The parser meets bytes of strangers: whatever it raises means "cannot be understood".
        raise NotDicom(f"{path} is no DICOM file: {type(error).__name__}") from error
    syntax = meta.get(_TRANSFER_SYNTAX, "")
    if not syntax:
        implicit = data_set.original_encoding[0]
        syntax = str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    return _checked(path, sop_class, sop_instance, syntax, offset, size)


_known_form = lru_cache(maxsize=256)(is_uid)
"""Classes and syntaxes are few, so each is looked at once."""


def _checked(
    path: Path, sop_class: str, sop_instance: str, syntax: str, offset: int, size: int
) -> Instance:
    if not (_known_form(sop_class) and is_uid(sop_instance) and _known_form(syntax)):
        raise NotDicom(f"{path} names no valid SOP class, SOP instance and transfer syntax UID")
    if kind(sop_class) is not Kind.STORAGE:
        raise NotDicom(f"{path} holds {sop_class}, which is not sent by C-STORE")
    return Instance(path, sop_class, sop_instance, syntax, offset, size - offset)
