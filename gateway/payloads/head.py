"""Reading what the index needs from an instance on disk.

Everything before the pixel data is parsed at most once per instance, with only the tags below.
What cannot be read up to its UIDs is :class:`Unusable` and goes to the quarantine.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gateway.errors import Permanent
from gateway.payloads.inflate import beginning
from gateway.payloads.receiving import Arrival

if TYPE_CHECKING:
    import pydicom

log = logging.getLogger(__name__)

_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "AccessionNumber",
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "NumberOfPatientRelatedInstances",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
]
_UID = re.compile(r"[0-9.]{1,64}")
# LO and SH allow 64 and 16 characters (PS3.5 6.2); senders that write more are kept whole up to:
MAX_TEXT = 1024


class Unusable(Permanent):
    """The data set cannot be indexed: why, without patient data."""


@dataclass(frozen=True)
class Head:
    """What the index keeps of one instance."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    accession_number: str
    geometry: dict[str, Any] | None
    related: dict[str, int]
    """``patient``, ``study``, ``series`` → instances the sender says there are."""


def read_head(source: Path | BinaryIO) -> Head:
    """Parse a file, given by path or open; raise :class:`Unusable` naming what is wrong."""
    # Receivers need the parser for odd data sets only and are smaller without it.
    import pydicom
    from pydicom import config

    # Peers send what they send: a value out of its VR is kept and must not warn with its text.
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with beginning(source) as file:
            ds = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            return _head(ds)
    except Unusable:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; the parser's own OSErrors have no number
        # The parser meets bytes of strangers: whatever it raises means "cannot be understood".
        log.warning("data set cannot be parsed", extra={"error": type(error).__name__})
        raise Unusable(f"cannot be parsed up to its UIDs ({type(error).__name__})") from error


def agreeing(head: Head, arrival: Arrival) -> Head:
    """Refuse a data set that is not the instance its command announced (PS3.7 9.3.1.1)."""
    if head.sop_instance_uid != arrival.sop_instance_uid:
        raise Unusable("SOPInstanceUID differs between command and data set")
    if head.sop_class_uid != arrival.sop_class_uid:
        raise Unusable("SOPClassUID differs between command and data set")
    return head


def _head(ds: pydicom.Dataset) -> Head:
    return Head(
        sop_class_uid=_uid(ds, "SOPClassUID"),
        sop_instance_uid=_uid(ds, "SOPInstanceUID"),
        study_instance_uid=_uid(ds, "StudyInstanceUID"),
        series_instance_uid=_uid(ds, "SeriesInstanceUID"),
        patient_id=_text(ds, "PatientID"),
        issuer_of_patient_id=_text(ds, "IssuerOfPatientID"),
        accession_number=_text(ds, "AccessionNumber"),
        geometry=_geometry(ds),
        related=_related(ds),
    )


def _uid(ds: pydicom.Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    if value is None or value == "":
        raise Unusable(f"{keyword} is absent or empty")
    text = str(value).strip(" \0")
    if not _UID.fullmatch(text):
        raise Unusable(f"{keyword} is no UID")
    return text


def _text(ds: pydicom.Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value)
    return text.strip(" \0").replace("\0", "")[:MAX_TEXT]


def _related(ds: pydicom.Dataset) -> dict[str, int]:
    found = {}
    for level in ("Patient", "Study", "Series"):
        count = _numbers(ds.get(f"NumberOf{level}RelatedInstances"), 1)
        if count and count[0] > 0:
            found[level.lower()] = int(count[0])
    return found


def _geometry(ds: pydicom.Dataset) -> dict[str, Any] | None:
    number = _numbers(ds.get("InstanceNumber"), 1)
    thickness = _numbers(ds.get("SliceThickness"), 1)
    between = _numbers(ds.get("SpacingBetweenSlices"), 1)
    found: dict[str, Any] = {
        "position": _numbers(ds.get("ImagePositionPatient"), 3),
        "orientation": _numbers(ds.get("ImageOrientationPatient"), 6),
        "spacing": _numbers(ds.get("PixelSpacing"), 2),
        "number": int(number[0]) if number else None,
        "thickness": thickness[0] if thickness else None,
        "spacing_between_slices": between[0] if between else None,
    }
    found = {key: value for key, value in found.items() if value is not None}
    return found or None


def _numbers(value: Any, count: int) -> list[float] | None:
    """Exactly ``count`` finite numbers, or None: bad values must not stop an image."""
    values = list(value) if isinstance(value, MutableSequence) else [value]
    if len(values) != count:
        return None
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError):
        return None
    return numbers if all(abs(n) < 1e12 for n in numbers) else None
