"""Frames of classic instances: one image each, geometry in the Image Plane module (C.7.6.2)."""

from __future__ import annotations

from gateway.operators.dicom_reader import tags
from gateway.operators.dicom_reader.codes import SeriesRefusal, refused
from gateway.operators.dicom_reader.frames import Frame, Labels
from gateway.operators.dicom_reader.header import Header


def classic_frame(header: Header, instance: int) -> Frame:
    """Return the frame of a classic instance.

    Raises:
        InputRefusedError: NO_GEOMETRY, BAD_ATTRIBUTE.
    """
    position = header.decimals(tags.IMAGE_POSITION_PATIENT)
    orientation = header.decimals(tags.IMAGE_ORIENTATION_PATIENT)
    spacing = header.decimals(tags.PIXEL_SPACING)
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2:
        raise refused(
            SeriesRefusal.NO_GEOMETRY, "an instance has no position, orientation or pixel spacing"
        )
    return Frame(
        instance=instance,
        number=0,
        position=(position[0], position[1], position[2]),
        orientation=orientation,
        spacing=(spacing[1], spacing[0]),
        slope=_or(header.decimal(tags.RESCALE_SLOPE), 1.0),
        intercept=_or(header.decimal(tags.RESCALE_INTERCEPT), 0.0),
        labels=_labels(header),
        time="|".join((header.text(tags.TRIGGER_TIME), header.text(tags.ACQUISITION_TIME))),
        order=(int(_or(header.decimal(tags.INSTANCE_NUMBER), 0)), 0),
    )


def _labels(header: Header) -> Labels:
    b_value, gradient = _diffusion(header)
    return Labels(
        temporal_position=_whole(header.decimal(tags.TEMPORAL_POSITION_IDENTIFIER)),
        b_value=b_value,
        gradient=gradient,
        echo_time=header.decimal(tags.ECHO_TIME),
        inversion_time=header.decimal(tags.INVERSION_TIME),
        acquisition=_whole(header.decimal(tags.ACQUISITION_NUMBER)),
        image_type=header.texts(tags.IMAGE_TYPE),
    )


def _diffusion(header: Header) -> tuple[float | None, tuple[float, ...] | None]:
    """Return b-value and direction; vendors keep them in private groups of their own."""
    b_value = header.binary(tags.DIFFUSION_B_VALUE, "d")
    gradient: tuple[float, ...] | None = None
    maker = header.text(tags.MANUFACTURER).upper()
    if maker.startswith("GE"):
        if b_value is None:
            # GE adds 1e9 to mark the value as one of several.
            raw = header.decimals(tags.GE_B_VALUE)
            b_value = raw[0] % 1_000_000_000 if raw else None
        parts = [header.decimal(tag) for tag in tags.GE_GRADIENT]
        known = tuple(part for part in parts if part is not None)
        gradient = known or None
    elif maker.startswith("SIEMENS") and b_value is None:
        b_value = header.decimal(tags.SIEMENS_B_VALUE)
    elif maker.startswith("PHILIPS") and b_value is None:
        b_value = header.binary(tags.PHILIPS_B_VALUE, "f")
    return b_value, gradient


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
