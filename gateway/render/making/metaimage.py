"""The header of a MetaImage, written anew so that it names one file: the one beside it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from gateway.operators.sdk import InputRefusedError

_MOST_HEADER: Final = 64 * 1024
_KEYS: Final = frozenset(
    {
        "ObjectType", "NDims", "DimSize", "BinaryData", "BinaryDataByteOrderMSB",
        "ElementByteOrderMSB", "CompressedData", "CompressedDataSize", "TransformMatrix",
        "Rotation", "Orientation", "Offset", "Position", "Origin", "CenterOfRotation",
        "AnatomicalOrientation", "ElementSpacing", "ElementSize", "ElementType",
        "ElementNumberOfChannels",
    }
)  # fmt: skip
"""What shapes a volume; nothing else of a header is looked at."""
_LINE: Final = re.compile(rb"([A-Za-z]+)\s*=\s*([A-Za-z0-9_.+\- \t]*)\r?\n?")
_FILE: Final = re.compile(rb"ElementDataFile\s*=\s*([^\r\n]*)\r?\n?")
_HERE: Final = b"LOCAL"


def plain_header(folder: Path) -> Path:
    """Write the header of the MetaImage in ``folder`` anew, into the working folder; its path.

    Voxels that stand in the header's own file are copied out of it.  Raises InputRefusedError
    for a header that names more than one file, one that is not there, or says odd things.
    """
    paths = sorted(folder.iterdir())
    headers = [path for path in paths if path.suffix.lower() in {".mhd", ".mha"}]
    if len(headers) != 1:
        raise InputRefusedError("UNREADABLE", "no MetaImage header")
    kept: list[bytes] = []
    with headers[0].open("rb") as file:
        while (line := file.readline(_MOST_HEADER)) and file.tell() <= _MOST_HEADER:
            named = _FILE.fullmatch(line)
            if named is not None:
                voxels = _voxels(named[1].strip(), paths, headers[0], file.tell())
                return _written(kept, voxels)
            found = _LINE.fullmatch(line)
            if found is not None and found[1].decode() in _KEYS:
                kept.append(b"%b = %b\n" % (found[1], found[2].strip()))
    raise InputRefusedError("UNREADABLE", "the MetaImage header names no voxels")


def _voxels(name: bytes, paths: list[Path], header: Path, begin: int) -> Path:
    target = Path(".voxels.zraw").absolute()
    if name == _HERE:
        with header.open("rb") as source, target.open("wb") as copy:
            source.seek(begin)
            shutil.copyfileobj(source, copy, 1 << 20)
        return target
    beside = [path for path in paths if path != header and path.name.encode() == name]
    if not beside:
        raise InputRefusedError("UNREADABLE", "the file of the voxels is not beside its header")
    target.symlink_to(beside[0])
    return target


def _written(lines: list[bytes], voxels: Path) -> Path:
    target = Path(".header.mhd").absolute()
    target.write_bytes(b"".join(lines) + b"ElementDataFile = %b\n" % voxels.name.encode())
    return target
