"""Frames of a Siemens mosaic: one instance that holds a volume as a sheet of tiles.

The header of a mosaic gives the place of the whole sheet; that of the first tile follows from the
sizes, and the direction of the tiles from the private CSA header (0029,1010).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.classic import classic_frame
from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame
from gateway.operators.dicom_reader.header import Header

_MOST_ELEMENTS, _MOST_ITEMS = 1024, 4096


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a sheet divides: `across` tiles per line, each of `rows` by `columns` pixels."""

    across: int
    rows: int
    columns: int

    def corner(self, number: int) -> tuple[int, int]:
        """Return row and column of a tile's first pixel in the sheet."""
        return number // self.across * self.rows, number % self.across * self.columns


def is_mosaic(header: Header) -> bool:
    """Say whether an instance is a Siemens mosaic."""
    return "MOSAIC" in header.texts(tags.IMAGE_TYPE)


def tiling_of(header: Header) -> tuple[Tiling, int]:
    """Return how the sheet divides and how many tiles hold an image.

    Raises:
        InputRefusedError: BAD_MOSAIC.
    """
    count = int(header.binary(tags.SIEMENS_MOSAIC_IMAGES, "H") or 0)
    if not count:
        count = int(_number(_csa(header).get("NumberOfImagesInMosaic", [])))
    rows, columns = header.unsigned(tags.ROWS), header.unsigned(tags.COLUMNS)
    across = math.ceil(math.sqrt(count)) if 0 < count <= _MOST_ITEMS else 0
    if not across or rows % across or columns % across:
        raise refused(SeriesRefusal.BAD_MOSAIC, "the mosaic does not divide into its tiles")
    return Tiling(across, rows // across, columns // across), count


def mosaic_frames(header: Header, instance: int) -> list[Frame]:
    """Return one frame per tile.

    Raises:
        InputRefusedError: BAD_MOSAIC, NO_GEOMETRY, BAD_ATTRIBUTE.
    """
    tiling, count = tiling_of(header)
    sheet = classic_frame(header, instance)
    step = header.decimal(tags.SPACING_BETWEEN_SLICES)
    toward = [_number([text]) for text in _csa(header).get("SliceNormalVector", [])[:3]]
    if step is None or step <= 0 or len(toward) != 3:
        raise refused(SeriesRefusal.BAD_MOSAIC, "the mosaic does not say how its slices follow")
    row, column = np.array(sheet.orientation[:3]), np.array(sheet.orientation[3:])
    first = (
        np.array(sheet.position)
        + row * sheet.spacing[0] * (header.unsigned(tags.COLUMNS) - tiling.columns) / 2
        + column * sheet.spacing[1] * (header.unsigned(tags.ROWS) - tiling.rows) / 2
    )
    # The exact normal of the image, on the side that the rounded private vector points to.
    normal = np.cross(row, column)
    normal *= math.copysign(1.0, float(normal @ np.array(toward)))
    return [
        replace(sheet, number=tile, position=_point(first + normal * step * tile))
        for tile in range(count)
    ]


def _point(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _number(texts: list[str]) -> float:
    try:
        return float(texts[0])
    except (ValueError, IndexError):
        raise refused(SeriesRefusal.BAD_MOSAIC, "the private header holds no number") from None


def _csa(header: Header) -> dict[str, list[str]]:
    """Read the elements of a CSA2 ("SV10") header as text."""
    data = header.values.get(tags.SIEMENS_CSA_IMAGE_HEADER, b"")
    if data[:4] != b"SV10":
        raise refused(SeriesRefusal.BAD_MOSAIC, "no private header of a mosaic")
    try:
        (count,) = struct.unpack_from("<I", data, 8)
        return _csa_elements(data, min(count, _MOST_ELEMENTS))
    except struct.error:
        raise refused(SeriesRefusal.BAD_MOSAIC, "the private header is cut off") from None


def _csa_elements(data: bytes, count: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    position = 16
    for _ in range(count):
        name = data[position : position + 64].split(b"\0", 1)[0].decode("latin-1")
        (items,) = struct.unpack_from("<i", data, position + 76)
        position += 84
        texts = []
        for _ in range(min(max(items, 0), _MOST_ITEMS)):
            (length,) = struct.unpack_from("<i", data, position + 4)
            if length < 0:
                raise refused(SeriesRefusal.BAD_MOSAIC, "the private header is not sound")
            position += 16
            text = data[position : position + length].split(b"\0", 1)[0].decode("latin-1").strip()
            texts += [text] if text else []
            position += (length + 3) // 4 * 4
        found[name] = texts
    return found
