"""Losslessly decodes an instance for a peer that refuses its transfer syntax.

Only from lossless or uncompressed syntaxes to uncompressed little endian: pixel values stay the
same, so the SOP Instance UID does (PS3.3 C.7.6.1.1.5).  Never re-encodes, never touches lossy
data.  Loads the whole object: the rare way out, not the usual path.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from gateway.dicom.errors import UnsupportedByGateway

UNCOMPRESSED: tuple[str, ...] = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""What to fall back to; every SCP must take the second (PS3.5 10.1)."""

_PLAIN = frozenset(
    str(uid)
    for uid in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    )
)
_COMPRESSED = frozenset(
    str(uid)
    for uid in (
        RLELossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
        HTJ2KLossless,
        HTJ2KLosslessRPCL,
    )
)
_WORD_BYTES = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}


def can_transcode(transfer_syntax_uid: str) -> bool:
    """Whether instances in this syntax can be brought to an uncompressed one without loss."""
    return transfer_syntax_uid in _PLAIN or transfer_syntax_uid in _COMPRESSED


def transcode(path: Path, transfer_syntax_uid: str, target: Path) -> None:
    """Write ``path`` to ``target`` in an uncompressed syntax; raises UnsupportedByGateway."""
    source = ""
    try:
        data_set = pydicom.dcmread(path, force=True)
        source = str(data_set.file_meta.get("TransferSyntaxUID", ""))
        if source in _COMPRESSED:
            data_set.decompress(as_rgb=False, generate_instance_uid=False)
        if source == ExplicitVRBigEndian:
            _to_little_endian(data_set)
        data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        pydicom.dcmwrite(
            target,
            data_set,
            implicit_vr=transfer_syntax_uid == ImplicitVRLittleEndian,
            little_endian=True,
            enforce_file_format=True,
        )
    except (
        AttributeError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        raise UnsupportedByGateway(
            f"{path} is in transfer syntax {UID(source).name if source else 'unknown'}, "
            f"which the peer refuses and which cannot be decoded here: {type(e).__name__}"
        ) from e


def _to_little_endian(data_set: pydicom.Dataset) -> None:
    """Swap the words of binary values, which pydicom keeps as bytes in the order of the file."""
    if int(data_set.get("BitsAllocated", 16)) > 16:
        # Annex D of PS3.5 leaves open how samples of over 16 bits lie in OW words.
        raise ValueError("big endian with samples of over 16 bits")
    for element in data_set.iterall():
        width = _WORD_BYTES.get(str(element.VR))
        if width and isinstance(element.value, bytes) and len(element.value) % width == 0:
            element.value = np.frombuffer(element.value, f"u{width}").byteswap().tobytes()
