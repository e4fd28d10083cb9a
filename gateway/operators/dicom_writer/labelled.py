"""The Segmentation object (PS3.3 A.51) of any label map that says what its labels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset

from gateway.operators.dicom_writer.identity import put_study
from gateway.operators.dicom_writer.origin import SEG_SERIES, Origin
from gateway.operators.dicom_writer.segmentation import frames_of
from gateway.operators.dicom_writer.source import Case
from gateway.operators.sdk import InputRefusedError

TITLE: Final = "Segmentation"
TEXT_LIMIT: Final = 64
VALUE_LIMIT: Final = 16
MOST_SEGMENTS: Final = 255


@dataclass(frozen=True)
class Segment:
    """One entry of `labels.json`, checked."""

    number: int
    label: str
    category: highdicom.sr.CodedConcept
    type: highdicom.sr.CodedConcept
    laterality: highdicom.sr.CodedConcept | None
    color: tuple[int, int, int]


def title_of(case: Case) -> str:
    """Give what the label map is called, for the series and its maker."""
    return _text(case.measurements.get("title") or TITLE)


def make_labelled(case: Case, origin: Origin) -> Dataset:
    """Make the SEG of a label map; every frame refers to the source image it was drawn on.

    Raises:
        InputRefusedError: BAD_LABELS, the map and its description do not fit; SOURCE_UNREADABLE.
    """
    segments = _segments(case)
    # Segments count from 1 without gaps (PS3.3 C.8.20.2), also where an organ is missing.
    renumber = np.zeros(256, dtype=np.uint8)
    for new, segment in enumerate(segments, start=1):
        renumber[segment.number] = new
    segmentation: Dataset = highdicom.seg.Segmentation(
        source_images=case.headers,
        pixel_array=frames_of(case, renumber[case.labels]),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(origin, new, segment) for new, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=origin.uid("seg series"),
        series_number=SEG_SERIES,
        sop_instance_uid=origin.uid("seg"),
        instance_number=1,
        content_label="SEGMENTATION",
        content_description=_missing(case) or title_of(case),
        series_description=title_of(case),
        **origin.equipment(),
    )
    put_study(case.study, segmentation)
    body_part = str(case.measurements.get("body_part") or "")
    if body_part:
        segmentation.BodyPartExamined = _text(body_part, VALUE_LIMIT)
    return segmentation


def _segments(case: Case) -> list[Segment]:
    """Read the entries whose labels occur, by number; every label that occurs has one."""
    entries = case.measurements.get("segments")
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST_SEGMENTS:
        raise InputRefusedError("BAD_LABELS", "labels.json lists no segments, or too many")
    try:
        segments = [_segment(entry) for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise InputRefusedError(
            "BAD_LABELS", f"an entry of labels.json is not complete ({type(error).__name__})"
        ) from error
    numbers = [segment.number for segment in segments]
    present = {int(n) for n in np.flatnonzero(np.bincount(case.labels.ravel(), minlength=256))}
    if len(set(numbers)) != len(numbers) or not present - {0} <= set(numbers):
        raise InputRefusedError("BAD_LABELS", "numbers of labels.json and label map do not match")
    kept = sorted((s for s in segments if s.number in present), key=lambda s: s.number)
    if not kept:
        raise InputRefusedError("BAD_LABELS", "the label map is empty")
    return kept


def _segment(entry: dict[str, Any]) -> Segment:
    number = int(entry["number"])
    red, green, blue = (int(value) for value in entry.get("color") or (200, 200, 60))
    if not 0 < number < 256 or not all(0 <= value < 256 for value in (red, green, blue)):
        raise InputRefusedError("BAD_LABELS", "a segment's number or color is out of range")
    laterality = entry.get("laterality")
    return Segment(
        number=number,
        label=_text(entry["label"]),
        category=_code(entry["category"]),
        type=_code(entry["type"]),
        laterality=None if laterality is None else _code(laterality),
        color=(red, green, blue),
    )


def _code(code: dict[str, Any]) -> highdicom.sr.CodedConcept:
    """Turn `{"value", "scheme", "meaning"}` into a code (PS3.3 8.8)."""
    return highdicom.sr.CodedConcept(
        value=_text(code["value"], VALUE_LIMIT),
        scheme_designator=_text(code["scheme"], VALUE_LIMIT),
        meaning=_text(code["meaning"]),
    )


def _text(value: Any, limit: int = TEXT_LIMIT) -> str:
    """Give a text that LO (or SH and CS, by `limit`) can hold (PS3.5 6.2)."""
    text = str(value).strip()
    if not text or len(text) > limit or "\\" in text or not text.isprintable():
        raise InputRefusedError("BAD_LABELS", f"a text of labels.json is empty or over {limit}")
    return text


def _missing(case: Case) -> str:
    """Say what was looked for and not found; empty if all was."""
    entries = case.measurements.get("missing") or []
    names = [str(entry.get("organ")) for entry in entries if isinstance(entry, dict)]
    text = f"Not found: {', '.join(names)}"
    return _text(text[:TEXT_LIMIT]) if names else ""


def _describe(origin: Origin, number: int, segment: Segment) -> SegmentDescription:
    """Describe one segment with its codes and the colour to show it in."""
    description = SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=origin.identification(),
        tracking_uid=origin.uid(f"segment {segment.number}"),
        tracking_id=segment.label,
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )
    if segment.laterality is not None:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [segment.laterality]
    return description
