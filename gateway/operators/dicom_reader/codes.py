"""The names under which the reader refuses or warns; programs may rely on them.

Refusals of the whole run, of one series, of one format of a series, and warnings stand apart.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.operators.sdk import InputRefusedError


class RunRefusal(StrEnum):
    """Why nothing was read at all."""

    NO_INSTANCES = "NO_INSTANCES"
    MIXED_PATIENTS = "MIXED_PATIENTS"
    NO_VOLUME = "NO_VOLUME"


class FileRefusal(StrEnum):
    """Why a file was left aside."""

    NOT_DICOM = "NOT_DICOM"
    DICOMDIR = "DICOMDIR"
    NO_UIDS = "NO_UIDS"


class SeriesRefusal(StrEnum):
    """Why a series is no volume."""

    NOT_A_VOLUME_CLASS = "NOT_A_VOLUME_CLASS"  # CR, DX, SC, US, SR, SEG, RT, ... (SOP class)
    MIXED_CLASSES = "MIXED_CLASSES"  # volume and other SOP classes in one series
    MIXED_STUDIES = "MIXED_STUDIES"  # one Series Instance UID in two studies
    LOCALIZER = "LOCALIZER"
    COLOUR = "COLOUR"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    TRUNCATED_PIXEL_DATA = "TRUNCATED_PIXEL_DATA"
    UNDECODABLE = "UNDECODABLE"
    UNSUPPORTED_PIXELS = "UNSUPPORTED_PIXELS"
    BAD_ATTRIBUTE = "BAD_ATTRIBUTE"
    BAD_RESCALE = "BAD_RESCALE"
    MODALITY_LUT = "MODALITY_LUT"
    BAD_UID = "BAD_UID"
    DUPLICATE_INSTANCES = "DUPLICATE_INSTANCES"  # one SOP Instance UID in several files
    NO_GEOMETRY = "NO_GEOMETRY"  # no position, orientation or pixel spacing
    BAD_ORIENTATION = "BAD_ORIENTATION"
    NO_FRAME_OF_REFERENCE = "NO_FRAME_OF_REFERENCE"
    SEVERAL_FRAMES_OF_REFERENCE = "SEVERAL_FRAMES_OF_REFERENCE"
    MIXED_ORIENTATION = "MIXED_ORIENTATION"
    MIXED_SIZE = "MIXED_SIZE"
    MIXED_SPACING = "MIXED_SPACING"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    DOUBLED_SLICES = "DOUBLED_SLICES"  # several images at one position, nothing tells them apart
    INCOMPLETE_VOLUME = "INCOMPLETE_VOLUME"  # several volumes, one with fewer slices
    MISSING_SLICES = "MISSING_SLICES"
    UNEVEN_SPACING = "UNEVEN_SPACING"
    SLICES_OUT_OF_LINE = "SLICES_OUT_OF_LINE"
    BAD_MOSAIC = "BAD_MOSAIC"
    TOO_LARGE = "TOO_LARGE"
    FORMAT_REFUSED = "FORMAT_REFUSED"  # no format that was asked for can hold it


class FormatRefusal(StrEnum):
    """Why a volume was not written in one of the formats."""

    GANTRY_TILT = "GANTRY_TILT"


class Warn(StrEnum):
    """What is odd about a volume that was written nevertheless."""

    NO_FRAME_OF_REFERENCE = "NO_FRAME_OF_REFERENCE"
    GANTRY_TILT = "GANTRY_TILT"
    GANTRY_TILT_UNCONFIRMED = "GANTRY_TILT_UNCONFIRMED"
    INSTANCE_NUMBER_GAPS = "INSTANCE_NUMBER_GAPS"


def refused(code: StrEnum, message: str) -> InputRefusedError:
    """Make the error of a named refusal."""
    return InputRefusedError(code.value, message)
