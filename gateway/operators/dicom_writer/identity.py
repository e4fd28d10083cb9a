"""Takes from source images what results need: identity in UTF-8, complete and legal, and geometry.

The two are kept apart. Patient and study attributes never pass through the library that builds the
results, whose warnings quote names it finds odd; they are put into the finished objects.
"""

from __future__ import annotations

import uuid
from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

UTF8: Final = "ISO_IR 192"
SEXES: Final = frozenset({"", "M", "F", "O"})
TYPE_2: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
STUDY_OPTIONAL: Final = (
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "PatientBirthTime",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "TimezoneOffsetFromUTC",
)
STUDY_SEQUENCES: Final = ("IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence")
IMAGE: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "FrameOfReferenceUID",
    "ImageType",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PositionReferenceIndicator",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstitutionName",
    "StationName",
    "AcquisitionDate",
    "AcquisitionTime",
)


def study_of(dataset: Dataset) -> Dataset:
    """Copy patient and study attributes of a source image, with all text as UTF-8.

    Missing type 2 attributes come back empty. `dataset` is decoded in place.
    """
    dataset.decode()
    study = Dataset()
    study.SpecificCharacterSet = UTF8
    for keyword in (*TYPE_2, *STUDY_OPTIONAL, *STUDY_SEQUENCES):
        if keyword in dataset:
            _copy(dataset, study, keyword)
    for keyword in TYPE_2:
        if keyword not in study:
            setattr(study, keyword, "")
    _empty_what_is_not_legal(study)
    return study


def image_of(dataset: Dataset) -> Dataset:
    """Copy references, geometry and equipment of a source image; whose it is stays empty."""
    image = Dataset()
    image.SpecificCharacterSet = UTF8
    for keyword in TYPE_2:
        setattr(image, keyword, "")
    for keyword in IMAGE:
        if keyword in dataset:
            _copy(dataset, image, keyword)
    if not image.get("FrameOfReferenceUID"):
        image.FrameOfReferenceUID = _own_frame_of_reference(image)
    return image


def _own_frame_of_reference(image: Dataset) -> UID:
    """Make a frame of reference for a series that has none: a SEG must name one (type 1)."""
    series = str(image.get("SeriesInstanceUID", ""))
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{series}/frame of reference').int}")


def _copy(dataset: Dataset, target: Dataset, keyword: str) -> None:
    """Copy one attribute; names as plain text, so that they are encoded anew."""
    value = dataset[keyword].value
    if dictionary_VR(keyword) == "PN":
        value = str(value) if value is not None else ""
    if value is None and keyword not in TYPE_2:
        return
    setattr(target, keyword, value)


def _empty_what_is_not_legal(study: Dataset) -> None:
    """Empty type 2 values that the standard does not allow, for they would spoil the result."""
    if str(study.PatientSex or "").strip() not in SEXES:
        study.PatientSex = ""
    for keyword, kind in (
        ("PatientBirthDate", DA),
        ("StudyDate", DA),
        ("StudyTime", TM),
    ):
        try:
            kind(str(study[keyword].value or "").strip() or None)
        except ValueError:
            setattr(study, keyword, "")


def put_study(study: Dataset, result: Dataset) -> None:
    """Put patient and study attributes of the source into a finished result."""
    for element in study:
        setattr(result, element.keyword, element.value)
