"""The Segmentation object (PS3.3 A.51): right and left lung, one bit per voxel."""

from __future__ import annotations

from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from gateway.operators.dicom_writer.identity import put_study
from gateway.operators.dicom_writer.origin import LEFT_RGB, RIGHT_RGB, SEG_SERIES, Origin
from gateway.operators.dicom_writer.source import Case
from gateway.operators.sdk import InputRefusedError

SIDES = (("right", 1, codes.SCT.Right, RIGHT_RGB), ("left", 2, codes.SCT.Left, LEFT_RGB))


def make_segmentation(case: Case, origin: Origin) -> Dataset:
    """Make the SEG of a case; every frame refers to the source image it was drawn on.

    Raises:
        InputRefusedError: SOURCE_UNREADABLE, a multi-frame source of which only a part is volume.
    """
    segmentation: Dataset = highdicom.seg.Segmentation(
        source_images=case.headers,
        pixel_array=frames_of(case, case.labels),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(origin, *side) for side in SIDES],
        series_instance_uid=origin.uid("seg series"),
        series_number=SEG_SERIES,
        sop_instance_uid=origin.uid("seg"),
        instance_number=1,
        content_label="LUNGS",
        content_description="Right and left lung without large airways",
        series_description="Lung segmentation",
        **origin.equipment(),
    )
    put_study(case.study, segmentation)
    segmentation.BodyPartExamined = "CHEST"
    return segmentation


def frames_of(case: Case, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Order labels of the volume as the source's frames: (frame, row, column).

    Raises:
        InputRefusedError: SOURCE_UNREADABLE, a multi-frame source of which only a part is volume.
    """
    frames = np.ascontiguousarray(labels.transpose(2, 1, 0))
    numbers = [frame for _, frame in case.slices]
    if all(number is None for number in numbers):
        return frames
    count = int(case.headers[0].get("NumberOfFrames") or 0)
    if len(case.headers) > 1 or sorted(n or 0 for n in numbers) != list(range(1, count + 1)):
        raise InputRefusedError(
            "SOURCE_UNREADABLE", "only a part of a multi-frame image is the measured volume"
        )
    return frames[np.argsort([number or 0 for number in numbers])]


def _describe(
    origin: Origin, side: str, number: int, laterality: Any, rgb: tuple[int, int, int]
) -> SegmentDescription:
    """Describe one segment: lung with its side as modifier, and the colour to show it in."""
    description = SegmentDescription(
        segment_number=number,
        segment_label=f"{side.capitalize()} lung",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Lung,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=origin.identification(),
        tracking_uid=origin.uid(f"{side} lung"),
        tracking_id=f"{side.capitalize()} lung",
        display_color=highdicom.color.CIELabColor.from_rgb(*rgb),
    )
    kind = description.SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence = [highdicom.sr.CodedConcept(*laterality)]
    return description
