"""Small data sets in memory: encoded for a request, decoded from a response (PS3.5 Annex A).

For queries and notices only; instances are streamed and never become objects here.
"""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom.config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian

from gateway.dicom.errors import NotDicom

SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""What these functions know: Explicit and Implicit VR Little Endian."""

UNREADABLE = (
    BytesLengthException,
    InvalidDicomError,
    AttributeError,
    EOFError,
    KeyError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    UnicodeError,
    ValueError,
    struct.error,
)
"""What pydicom raises for bytes or values that make no sense."""


def encode(data_set: Dataset, transfer_syntax: str) -> bytes:
    """The bytes of ``data_set``; raises ValueError for values that cannot be written."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = transfer_syntax == ImplicitVRLittleEndian
    buffer.is_little_endian = True
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def decode(data: bytes | bytearray, transfer_syntax: str) -> Dataset:
    """The data set in ``data``; raises NotDicom when there is none.

    Elements are converted when they are asked for; :func:`tolerant` says how.
    """
    try:
        return read_dataset(
            BytesIO(bytes(data)),
            is_implicit_VR=transfer_syntax == ImplicitVRLittleEndian,
            is_little_endian=True,
        )
    except UNREADABLE as error:
        raise NotDicom(f"a data set cannot be read ({type(error).__name__})") from error


def tolerant() -> None:
    """Let pydicom take values that break their VR without a warning that quotes them.

    For a process's start: the switch is pydicom's and holds for the whole process.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
