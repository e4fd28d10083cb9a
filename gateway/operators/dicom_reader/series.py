"""Decide whether the instances of one series make a volume, and how they lie.

Everything here works on headers; no pixel is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.classic import classic_frame
from gateway.operators.dicom_reader.codes import SeriesRefusal, Warn, refused
from gateway.operators.dicom_reader.enhanced import enhanced_frames
from gateway.operators.dicom_reader.frames import Frame
from gateway.operators.dicom_reader.geometry import Stack, arrange
from gateway.operators.dicom_reader.header import Header
from gateway.operators.dicom_reader.mosaic import is_mosaic, mosaic_frames
from gateway.operators.dicom_reader.uids import is_uid, uid_name

CLASSIC_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT
        "1.2.840.10008.5.1.4.1.1.4",  # MR
        "1.2.840.10008.5.1.4.1.1.128",  # PET
    }
)
ENHANCED_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET
    }
)


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something odd about a volume that is right nevertheless."""

    code: Warn
    message: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A series that is a volume: its instances, their order and what is odd about it."""

    instances: tuple[Header, ...]
    stack: Stack
    warnings: tuple[Oddity, ...]


def lay_out(instances: Sequence[Header], least: int) -> Layout:
    """Find the geometry of a series.

    `least` is how many images a volume needs.

    Raises:
        InputRefusedError: a name of `SeriesRefusal`.
        OSError: a file cannot be read.
    """
    for check in _CHECKS:
        check(instances)
    stack = arrange(_frames(instances), least, _declared_volumes(instances[0]))
    warnings = [*_frame_of_reference(instances), *_tilt(instances[0], stack)]
    return Layout(tuple(instances), stack, (*warnings, *_number_gaps(stack)))


def _uids(instances: Sequence[Header]) -> None:
    for tag in (tags.SERIES_INSTANCE_UID, tags.STUDY_INSTANCE_UID, tags.SOP_INSTANCE_UID):
        for header in instances:
            if not is_uid(header.text(tag)):
                raise refused(SeriesRefusal.BAD_UID, "a UID is not made of digits and dots")
    if len({header.text(tags.STUDY_INSTANCE_UID) for header in instances}) > 1:
        raise refused(SeriesRefusal.MIXED_STUDIES, "one Series Instance UID in several studies")


def _classes(instances: Sequence[Header]) -> None:
    classes = {header.text(tags.SOP_CLASS_UID) for header in instances}
    others = sorted(uid_name(uid) for uid in classes - CLASSIC_CLASSES - ENHANCED_CLASSES)
    if len(others) == len(classes):
        raise refused(SeriesRefusal.NOT_A_VOLUME_CLASS, f"{', '.join(others)} is no volume")
    if len(classes) > 1:
        names = ", ".join(sorted(uid_name(uid) for uid in classes))
        raise refused(SeriesRefusal.MIXED_CLASSES, f"one series holds {names}")


def _doubled_instances(instances: Sequence[Header]) -> None:
    distinct = len({header.text(tags.SOP_INSTANCE_UID) for header in instances})
    if distinct < len(instances):
        raise refused(
            SeriesRefusal.DUPLICATE_INSTANCES,
            f"{len(instances)} files hold {distinct} SOP Instance UIDs",
        )


def _localizers(instances: Sequence[Header]) -> None:
    count = sum("LOCALIZER" in header.texts(tags.IMAGE_TYPE) for header in instances)
    if count:
        raise refused(
            SeriesRefusal.LOCALIZER, f"{count} of {len(instances)} instances are localizers"
        )


def _colours(instances: Sequence[Header]) -> None:
    for header in instances:
        photometric = header.text(tags.PHOTOMETRIC_INTERPRETATION)
        if header.unsigned(tags.SAMPLES_PER_PIXEL, 1) != 1 or not photometric.startswith(
            "MONOCHROME"
        ):
            raise refused(SeriesRefusal.COLOUR, "the images are in colour, not monochrome")


def _sizes(instances: Sequence[Header]) -> None:
    sizes = {(header.unsigned(tags.ROWS), header.unsigned(tags.COLUMNS)) for header in instances}
    if len(sizes) > 1:
        raise refused(SeriesRefusal.MIXED_SIZE, f"{len(sizes)} image sizes in one series")
    if 0 in sizes.pop():
        raise refused(SeriesRefusal.BAD_ATTRIBUTE, "the images have no rows or no columns")
    if any(tags.MODALITY_LUT_SEQUENCE in header.values for header in instances):
        raise refused(SeriesRefusal.MODALITY_LUT, "values are defined by a Modality LUT")


_CHECKS: tuple[Callable[[Sequence[Header]], None], ...] = (
    _uids,
    _classes,
    _doubled_instances,
    _localizers,
    _colours,
    _sizes,
)


def _frames(instances: Sequence[Header]) -> list[Frame]:
    mosaics = sum(is_mosaic(header) for header in instances)
    if mosaics not in (0, len(instances)):
        raise refused(SeriesRefusal.BAD_MOSAIC, "mosaics and other images in one series")
    frames: list[Frame] = []
    for index, header in enumerate(instances):
        if header.text(tags.SOP_CLASS_UID) in ENHANCED_CLASSES:
            frames += enhanced_frames(header, index)
        elif mosaics:
            frames += mosaic_frames(header, index)
        else:
            frames.append(classic_frame(header, index))
    return frames


def _declared_volumes(header: Header) -> int:
    return int(header.decimal(tags.NUMBER_OF_TEMPORAL_POSITIONS) or 0)


def _frame_of_reference(instances: Sequence[Header]) -> list[Oddity]:
    """Check that all positions are in one coordinate system.

    The frames of a single multi-frame instance are, whether it names one or not.
    """
    uids = {header.text(tags.FRAME_OF_REFERENCE_UID) for header in instances}
    if len(uids) > 1:
        raise refused(SeriesRefusal.SEVERAL_FRAMES_OF_REFERENCE, f"{len(uids)} frames of reference")
    if uids != {""}:
        return []
    if len(instances) == 1:
        message = "the instance names no frame of reference; it fits no other series"
        return [Oddity(Warn.NO_FRAME_OF_REFERENCE, message)]
    raise refused(
        SeriesRefusal.NO_FRAME_OF_REFERENCE,
        "the instances name no frame of reference, so nobody knows whether they fit together",
    )


def _tilt(header: Header, stack: Stack) -> list[Oddity]:
    if stack.tilt_degrees:
        message = f"the slices are sheared by {stack.tilt_degrees:.2f} degrees"
        return [Oddity(Warn.GANTRY_TILT, message)]
    if abs(header.decimal(tags.GANTRY_DETECTOR_TILT) or 0.0) > 0.1:
        message = "the header names a gantry tilt, the positions show none"
        return [Oddity(Warn.GANTRY_TILT_UNCONFIRMED, message)]
    return []


def _number_gaps(stack: Stack) -> list[Oddity]:
    """Warn of instance numbers that jump: slices may be missing at the ends."""
    numbers = sorted({frame.order[0] for volume in stack.frames for frame in volume})
    if numbers[-1] - numbers[0] + 1 == len(numbers):
        return []
    message = "instance numbers have gaps; slices may be missing at the ends"
    return [Oddity(Warn.INSTANCE_NUMBER_GAPS, message)]
