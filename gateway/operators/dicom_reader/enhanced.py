"""Frames of enhanced multi-frame instances: geometry in functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence

import pydicom
from pydicom.dataset import Dataset

from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame, Labels
from gateway.operators.dicom_reader.header import Header
from gateway.operators.dicom_reader.parsing import refusing


class _Groups:
    """The functional groups of one frame: its own before the shared ones."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._places = (own, shared)

    def item(self, sequence: str) -> Dataset:
        """Return the first item of a functional group, or an empty one."""
        for place in self._places:
            items = place.get(sequence)
            if items:
                return Dataset(items[0])
        return Dataset()

    def value(self, sequence: str, keyword: str) -> object:
        """Return an attribute of a functional group, or None."""
        return self.item(sequence).get(keyword)

    def numbers(self, sequence: str, keyword: str) -> tuple[float, ...]:
        """Return the values of a numeric attribute, none if it is absent."""
        value = self.value(sequence, keyword)
        if value is None or value == "":
            return ()
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(float(part) for part in value)
        return (float(str(value)),)

    def number(self, sequence: str, keyword: str) -> float | None:
        """Return the first value of a numeric attribute, or None."""
        values = self.numbers(sequence, keyword)
        return values[0] if values else None


def enhanced_frames(header: Header, instance: int) -> list[Frame]:
    """Return the frames of an enhanced instance in their order in the file.

    Raises:
        InputRefusedError: NO_GEOMETRY, BAD_ATTRIBUTE.
        OSError: the file cannot be read.
    """
    with refusing(
        SeriesRefusal.BAD_ATTRIBUTE, "the functional groups are not as the standard says"
    ):
        dataset = pydicom.dcmread(header.path, stop_before_pixels=True, force=True)
        return _frames(dataset, instance)


def _frames(dataset: Dataset, instance: int) -> list[Frame]:
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not own or len(own) != int(dataset.get("NumberOfFrames") or 1):
        raise refused(SeriesRefusal.NO_GEOMETRY, "no functional group for every frame")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    number = int(dataset.get("InstanceNumber") or 0)
    return [
        _frame(_Groups(item, shared), instance, index, number) for index, item in enumerate(own)
    ]


def _frame(groups: _Groups, instance: int, index: int, number: int) -> Frame:
    position = groups.numbers("PlanePositionSequence", "ImagePositionPatient")
    orientation = groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = groups.numbers("PixelMeasuresSequence", "PixelSpacing")
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2:
        raise refused(
            SeriesRefusal.NO_GEOMETRY, "a frame has no position, orientation or pixel spacing"
        )
    slope = groups.number("PixelValueTransformationSequence", "RescaleSlope")
    intercept = groups.number("PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        instance=instance,
        number=index,
        position=(position[0], position[1], position[2]),
        orientation=orientation,
        spacing=(spacing[1], spacing[0]),
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        labels=_labels(groups),
        time=str(groups.value("FrameContentSequence", "FrameAcquisitionDateTime") or ""),
        order=(number, index),
    )


def _labels(groups: _Groups) -> Labels:
    temporal = groups.number("FrameContentSequence", "TemporalPositionIndex")
    acquisition = groups.number("FrameContentSequence", "FrameAcquisitionNumber")
    gradient: tuple[float, ...] = ()
    for item in groups.item("MRDiffusionSequence").get("DiffusionGradientDirectionSequence") or []:
        gradient = tuple(float(part) for part in item.get("DiffusionGradientOrientation") or ())
    inversion = groups.numbers("MRModifierSequence", "InversionTimes")
    frame_type = groups.value("MRImageFrameTypeSequence", "FrameType") or groups.value(
        "CTImageFrameTypeSequence", "FrameType"
    )
    return Labels(
        temporal_position=None if temporal is None else int(temporal),
        b_value=groups.number("MRDiffusionSequence", "DiffusionBValue"),
        gradient=gradient or None,
        echo_time=groups.number("MREchoSequence", "EffectiveEchoTime"),
        inversion_time=inversion[0] if inversion else None,
        acquisition=None if acquisition is None else int(acquisition),
        image_type=tuple(frame_type) if isinstance(frame_type, Sequence) else (),
    )
