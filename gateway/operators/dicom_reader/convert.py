"""Convert one series: from the headers of its instances to its files and its report entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame
from gateway.operators.dicom_reader.header import Header
from gateway.operators.dicom_reader.metaimage import write_metaimage
from gateway.operators.dicom_reader.nifti import write_nifti
from gateway.operators.dicom_reader.pixels import read_volume
from gateway.operators.dicom_reader.scaling import Values
from gateway.operators.dicom_reader.series import ENHANCED_CLASSES, Layout, lay_out
from gateway.operators.sdk import InputRefusedError

WRITERS = {"nifti": write_nifti, "mhd": write_metaimage}
"""The formats by the names of `--format`."""

Entry = dict[str, object]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller asked for.

    `formats` are names of `WRITERS`; `level` is the compression, 0 for none; `least` how many
    images a series must have to be a volume; `most_bytes` how large a volume may be.
    """

    formats: tuple[str, ...]
    level: int
    least: int
    most_bytes: int


def convert_series(
    instances: Sequence[Header], source: Path, target: Path, wishes: Wishes
) -> Entry:
    """Write a series' files into `target` and return its entry for `series.json`.

    A refusal is an entry too, never an exception.

    Raises:
        OSError: a file cannot be read or written.
    """
    entry = _identity(instances)
    try:
        layout = lay_out(instances, wishes.least)
        values = read_volume(layout, wishes.most_bytes)
        entry.update(_geometry(layout, values, source))
        files, refusals = _write(layout, values, target, wishes)
    except InputRefusedError as error:
        return entry | {"status": "refused", "code": error.code, "message": error.message}
    return entry | {"status": "volume", "files": files, "refused_formats": refusals}


def _identity(instances: Sequence[Header]) -> Entry:
    first = instances[0]
    return {
        "series_instance_uid": first.text(tags.SERIES_INSTANCE_UID),
        "study_instance_uid": first.text(tags.STUDY_INSTANCE_UID),
        "modality": first.text(tags.MODALITY),
        "sop_class_uid": first.text(tags.SOP_CLASS_UID),
        "frame_of_reference_uid": first.text(tags.FRAME_OF_REFERENCE_UID) or None,
        "instances": len(instances),
        "status": "refused",
        "code": None,
        "message": None,
        "files": {},
        "refused_formats": {},
        "warnings": [],
        "shape": None,
        "dtype": None,
        "spacing": None,
        "direction": None,
        "origin": None,
        "affine_lps": None,
        "tilt_degrees": None,
        "sources": [],
        "volumes": [],
    }


def _geometry(layout: Layout, values: Values, source: Path) -> Entry:
    stack, (volumes, slices, rows, columns) = layout.stack, values.shape
    return {
        "warnings": [{"code": odd.code.value, "message": odd.message} for odd in layout.warnings],
        "shape": [columns, rows, slices, volumes][: 4 if volumes > 1 else 3],
        "dtype": values.dtype.name,
        "spacing": list(stack.spacing),
        "direction": stack.direction.tolist(),
        "origin": stack.affine[:3, 3].tolist(),
        "affine_lps": stack.affine.tolist(),
        "tilt_degrees": stack.tilt_degrees,
        "sources": [
            [_source(layout.instances, frame, source) for frame in volume]
            for volume in stack.frames
        ],
        "volumes": [volume[0].labels.as_json() for volume in stack.frames],
    }


def _source(instances: Sequence[Header], frame: Frame, source: Path) -> Entry:
    header = instances[frame.instance]
    framed = header.text(tags.SOP_CLASS_UID) in ENHANCED_CLASSES
    return {
        "sop_instance_uid": header.text(tags.SOP_INSTANCE_UID),
        "frame": frame.number + 1 if framed else None,
        "file": header.path.relative_to(source).as_posix(),
    }


def _write(
    layout: Layout, values: Values, target: Path, wishes: Wishes
) -> tuple[dict[str, str], dict[str, Entry]]:
    header = layout.instances[0]
    name = header.text(tags.SERIES_INSTANCE_UID)
    repetition_s = (header.decimal(tags.REPETITION_TIME) or 0.0) / 1000
    files: dict[str, str] = {}
    refusals: dict[str, Entry] = {}
    for wish in wishes.formats:
        try:
            files[wish] = WRITERS[wish](
                target, name, values, layout.stack, level=wishes.level, repetition_s=repetition_s
            )
        except InputRefusedError as error:
            refusals[wish] = {"code": error.code, "message": error.message}
    if not files:
        reasons = "; ".join(f"{wish}: {why['code']}" for wish, why in refusals.items())
        raise refused(SeriesRefusal.FORMAT_REFUSED, f"no format can hold it ({reasons})")
    return files, refusals
