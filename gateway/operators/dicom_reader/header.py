"""The header of one DICOM file: the wanted attributes as raw bytes, read as late as possible.

Plain little-endian files go through `walk`; everything else through pydicom, which is slower and
knows every corner of the format. Both end in the same `Header`.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import RawDataElement

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import FileRefusal, SeriesRefusal, refused
from gateway.operators.dicom_reader.parsing import refusing
from gateway.operators.dicom_reader.walk import NotPlainError, Walked, walk
from gateway.operators.sdk import Patient

_FIRST_READ = 16 << 10
_MOST_READ = 16 << 20
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says about itself.

    `direct` tells that `pixel_offset` and `pixel_length` are known (both None: no pixels; only the
    length None: compressed); otherwise pydicom must find the pixels. `size` is in bytes.
    """

    path: Path
    size: int
    transfer_syntax: str
    little_endian: bool
    values: dict[int, bytes]
    direct: bool
    pixel_offset: int | None
    pixel_length: int | None

    def text(self, tag: int) -> str:
        """Return an ASCII value without padding, all of its values; empty if absent."""
        return self.values.get(tag, b"").decode("latin-1").strip("\0 ")

    def texts(self, tag: int) -> tuple[str, ...]:
        """Return the values of an ASCII attribute; none if absent or empty."""
        text = self.text(tag)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def decimals(self, tag: int) -> tuple[float, ...]:
        """Return the values of a DS or IS attribute; none if absent or empty.

        Raises:
            InputRefusedError: BAD_ATTRIBUTE.
        """
        try:
            values = tuple(float(part) for part in self.texts(tag))
        except ValueError:
            raise _bad(tag) from None
        if not all(math.isfinite(value) for value in values):
            raise _bad(tag)
        return values

    def decimal(self, tag: int) -> float | None:
        """Return the first value of a DS or IS attribute, or None.

        Raises:
            InputRefusedError: BAD_ATTRIBUTE.
        """
        values = self.decimals(tag)
        return values[0] if values else None

    def binary(self, tag: int, kind: str) -> float | None:
        """Return the first value of a binary attribute (`kind` as in `struct`), or None.

        Raises:
            InputRefusedError: BAD_ATTRIBUTE.
        """
        value = self.values.get(tag, b"")
        if not value:
            return None
        try:
            found: tuple[float] = struct.unpack_from(
                ("<" if self.little_endian else ">") + kind, value
            )
        except struct.error:
            raise _bad(tag) from None
        return found[0]

    def unsigned(self, tag: int, default: int | None = None) -> int:
        """Return a US attribute.

        Raises:
            InputRefusedError: BAD_ATTRIBUTE, also when it is absent and has no default.
        """
        value = self.binary(tag, "H")
        if value is not None:
            return int(value)
        if default is None:
            raise _bad(tag)
        return default

    def patient(self) -> Patient:
        """Return whose image it is, decoded by its Specific Character Set (PS3.5 6.1.2)."""
        return Patient(
            patient_id=self._decoded(tags.PATIENT_ID),
            issuer=self._decoded(tags.ISSUER_OF_PATIENT_ID),
            name=self._decoded(tags.PATIENT_NAME),
            birth_date=self.text(tags.PATIENT_BIRTH_DATE),
            sex=self.text(tags.PATIENT_SEX),
        )

    def _decoded(self, tag: int) -> str:
        value = self.values.get(tag, b"")
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii").strip("\0 ")
        names = list(self.texts(tags.SPECIFIC_CHARACTER_SET)) or ["ISO_IR 6"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return decode_bytes(value, convert_encodings(names), {0x5E, 0x3D, 0x5C}).strip(
                    "\0 "
                )
            except LookupError:
                return value.decode("latin-1").strip("\0 ")


def _bad(tag: int) -> Exception:
    name = pydicom.datadict.keyword_for_tag(tag) or "private"
    return refused(
        SeriesRefusal.BAD_ATTRIBUTE,
        f"({tag >> 16:04x},{tag & 0xFFFF:04x}) {name} is absent or not as the standard says",
    )


def read_header(path: Path) -> Header:
    """Read the header of a file.

    Raises:
        InputRefusedError: NOT_DICOM, DICOMDIR, or NO_UIDS where it belongs to no series.
        OSError: the file cannot be read.
    """
    try:
        header = _walked_header(path)
    except NotPlainError:
        header = _parsed_header(path)
    for tag in (tags.SOP_INSTANCE_UID, tags.SERIES_INSTANCE_UID, tags.STUDY_INSTANCE_UID):
        if not header.text(tag):
            raise refused(FileRefusal.NO_UIDS, "no SOP, Series or Study Instance UID")
    return header


def _walked_header(path: Path) -> Header:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        walked = _walk_growing(descriptor, size)
    finally:
        os.close(descriptor)
    return Header(
        path=path,
        size=size,
        transfer_syntax=walked.transfer_syntax,
        little_endian=True,
        values=walked.values,
        direct=True,
        pixel_offset=walked.pixel_offset,
        pixel_length=walked.pixel_length,
    )


def _walk_growing(descriptor: int, size: int) -> Walked:
    reach = _FIRST_READ
    while True:
        data = os.pread(descriptor, reach, 0)
        try:
            return walk(data, size)
        except NotPlainError:
            if len(data) >= size or reach >= _MOST_READ or data[128:132] != b"DICM":
                raise
        reach *= 8


def _parsed_header(path: Path) -> Header:
    with refusing(FileRefusal.NOT_DICOM, "not a DICOM file that can be parsed"):
        header = _by_pydicom(path)
    if tags.SOP_CLASS_UID not in header.values:
        raise refused(FileRefusal.NOT_DICOM, "not a DICOM instance")
    return header


def _by_pydicom(path: Path) -> Header:
    dataset = pydicom.dcmread(
        path, stop_before_pixels=True, force=True, specific_tags=sorted(tags.WANTED)
    )
    if dataset.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY_CLASS:
        raise refused(FileRefusal.DICOMDIR, "a directory of files, no instance")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    return Header(
        path=path,
        size=path.stat().st_size,
        transfer_syntax=syntax or _guessed_syntax(dataset.original_encoding),
        little_endian=dataset.original_encoding[1] is not False,
        values={tag: _raw_value(dataset, tag) for tag in tags.WANTED if tag in dataset},
        direct=False,
        pixel_offset=None,
        pixel_length=None,
    )


def _raw_value(dataset: pydicom.Dataset, tag: int) -> bytes:
    element: object = dataset.get_item(tag)
    if isinstance(element, RawDataElement) and element.value is not None:
        return element.value
    # pydicom has already converted it: only Specific Character Set, a text, and sequences.
    text = dataset[tag].value
    if text is None or dataset[tag].VR == "SQ":
        return b""
    parts = [text] if isinstance(text, str) else list(text)
    return "\\".join(str(part) for part in parts).encode("latin-1", "replace")


def _guessed_syntax(encoding: tuple[bool | None, bool | None]) -> str:
    implicit, little = encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
