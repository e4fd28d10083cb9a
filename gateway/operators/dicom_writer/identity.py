"""Prepares the headers of source images: only what results need, in UTF-8, complete and legal."""

from __future__ import annotations

from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
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


def clean_header(dataset: Dataset) -> Dataset:
    """Copy what results need from a source image's header, with all text as UTF-8.

    Missing type 2 attributes come back empty; nothing private is copied.
    """
    dataset.decode()
    header = Dataset()
    header.SpecificCharacterSet = UTF8
    for keyword in (*TYPE_2, *STUDY_OPTIONAL, *STUDY_SEQUENCES, *IMAGE):
        if keyword in dataset:
            _copy(dataset, header, keyword)
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    _empty_what_is_not_legal(header)
    return header


def _copy(dataset: Dataset, header: Dataset, keyword: str) -> None:
    """Copy one attribute; names as plain text, so that they are encoded anew."""
    value = dataset[keyword].value
    if dictionary_VR(keyword) == "PN":
        value = str(value) if value is not None else ""
    if value is None and keyword not in TYPE_2:
        return
    setattr(header, keyword, value)


def _empty_what_is_not_legal(header: Dataset) -> None:
    """Empty type 2 values that the standard does not allow, for they would spoil the result."""
    if str(header.PatientSex or "").strip() not in SEXES:
        header.PatientSex = ""
    for keyword, kind in (
        ("PatientBirthDate", DA),
        ("StudyDate", DA),
        ("StudyTime", TM),
    ):
        try:
            kind(str(header[keyword].value or "").strip() or None)
        except ValueError:
            setattr(header, keyword, "")


def copy_study(header: Dataset, result: Dataset) -> None:
    """Put patient and study attributes of the source into a finished result."""
    result.SpecificCharacterSet = UTF8
    for keyword in (*TYPE_2, *STUDY_OPTIONAL, *STUDY_SEQUENCES):
        if keyword in header:
            setattr(result, keyword, header[keyword].value)
