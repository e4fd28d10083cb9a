"""Read the pixels of a series into one array of values.

Uncompressed little-endian frames are read straight from the file into their place; everything else
goes through pydicom and its decoders.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, RLELossless

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.formats import PixelFormat, Pixels, format_of
from gateway.operators.dicom_reader.frames import Frame
from gateway.operators.dicom_reader.header import Header
from gateway.operators.dicom_reader.mosaic import Tiling, is_mosaic, tiling_of
from gateway.operators.dicom_reader.parsing import refusing
from gateway.operators.dicom_reader.scaling import Scaling, Values
from gateway.operators.dicom_reader.series import Layout
from gateway.operators.dicom_reader.uids import uid_name

Place = tuple[int, int]


def read_volume(layout: Layout, most_bytes: int) -> Values:
    """Return the values of a series as `[volume, slice, row, column]`.

    `most_bytes` bounds the array in memory.

    Raises:
        InputRefusedError: a name of `SeriesRefusal` about pixels.
        OSError: a file cannot be read.
    """
    formats = [format_of(header) for header in layout.instances]
    _check(layout.instances, formats)
    first, volumes = layout.instances[0], layout.stack.frames
    tiling = tiling_of(first)[0] if is_mosaic(first) else None
    size = (tiling.rows, tiling.columns) if tiling else (formats[0].rows, formats[0].columns)
    shape = (len(volumes), len(volumes[0]), *size)
    needed = math.prod(shape) * formats[0].allocated // 8
    if needed > most_bytes:
        raise refused(SeriesRefusal.TOO_LARGE, f"{needed} bytes of pixels, {most_bytes} allowed")
    scaling = Scaling.plan((frame for volume in volumes for frame in volume), formats)
    stored = np.empty(shape, dtype=f"<u{formats[0].allocated // 8}")
    for index, places in _places(layout).items():
        form = formats[index]
        reader = _direct if _is_direct(layout.instances[index], tiling) else _decoded
        for place, frame in reader(layout.instances[index], form, tiling, places, stored):
            form.settle(stored[place].view(form.dtype))
            scaling.frame(stored, place, form, frame)
    return scaling.finish(stored)


def _check(instances: Sequence[Header], formats: Sequence[PixelFormat]) -> None:
    if len({form.allocated for form in formats}) > 1:
        raise refused(SeriesRefusal.UNSUPPORTED_PIXELS, "pixels of several sizes in one series")
    for header, form in zip(instances, formats, strict=True):
        if not header.direct:
            continue
        if header.pixel_offset is None:
            raise refused(SeriesRefusal.NO_PIXEL_DATA, "an instance has no pixels")
        if header.pixel_length is None:
            continue
        needed = form.frame_bytes * int(header.decimal(tags.NUMBER_OF_FRAMES) or 1)
        if min(header.pixel_length, header.size - header.pixel_offset) < needed:
            raise refused(
                SeriesRefusal.TRUNCATED_PIXEL_DATA, "an instance has fewer pixels than it says"
            )


def _places(layout: Layout) -> dict[int, list[tuple[Place, Frame]]]:
    """Return, per instance, which of its frames go where."""
    found: dict[int, list[tuple[Place, Frame]]] = {}
    for volume, frames in enumerate(layout.stack.frames):
        for slice_, frame in enumerate(frames):
            found.setdefault(frame.instance, []).append(((volume, slice_), frame))
    return found


def _is_direct(header: Header, tiling: Tiling | None) -> bool:
    return header.direct and header.pixel_length is not None and tiling is None


def _direct(
    header: Header,
    form: PixelFormat,
    _tiling: Tiling | None,
    places: Sequence[tuple[Place, Frame]],
    stored: Values,
) -> Iterator[tuple[Place, Frame]]:
    """Read uncompressed frames from the file into their places."""
    descriptor = os.open(header.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for place, frame in places:
            offset = (header.pixel_offset or 0) + frame.number * form.frame_bytes
            target = stored[place].data.cast("B")
            if os.preadv(descriptor, [target], offset) != form.frame_bytes:
                raise refused(SeriesRefusal.TRUNCATED_PIXEL_DATA, "a file became shorter")
            yield place, frame
    finally:
        os.close(descriptor)


def _decoded(
    header: Header,
    form: PixelFormat,
    tiling: Tiling | None,
    places: Sequence[tuple[Place, Frame]],
    stored: Values,
) -> Iterator[tuple[Place, Frame]]:
    """Decode frames, or the tiles of one frame, by pydicom."""
    dataset = _dataset(header)
    sheet = _decode(dataset, 0, form) if tiling else None
    for place, frame in places:
        if sheet is None or tiling is None:
            pixels = _decode(dataset, frame.number, form)
        else:
            row, column = tiling.corner(frame.number)
            pixels = sheet[row : row + tiling.rows, column : column + tiling.columns]
        stored[place].view(form.dtype)[...] = pixels
        yield place, frame


def _dataset(header: Header) -> pydicom.Dataset:
    with refusing(SeriesRefusal.UNDECODABLE, "an instance cannot be parsed"):
        dataset = pydicom.dcmread(header.path, force=True)
        if not dataset.file_meta.get("TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax)
        if "PixelData" in dataset:
            return dataset
    raise refused(SeriesRefusal.NO_PIXEL_DATA, "an instance has no pixels")


def _decode(dataset: pydicom.Dataset, number: int, form: PixelFormat) -> Pixels:
    syntax = dataset.file_meta.TransferSyntaxUID
    # The native RLE decoder answers bad runs with a panic, which is no `Exception`.
    plugin = "pydicom" if syntax == RLELossless else ""
    with refusing(SeriesRefusal.UNDECODABLE, f"pixels cannot be decoded ({uid_name(syntax)})"):
        pixels: Pixels = pixel_array(dataset, index=number, raw=True, decoding_plugin=plugin)
    if pixels.shape != (form.rows, form.columns):
        raise refused(SeriesRefusal.UNDECODABLE, "decoded pixels have another size than the header")
    return pixels
