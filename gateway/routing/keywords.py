"""Which DICOM keywords a rule may name, and the CEL type each one has.

==================================  =================================
Value Representation (PS3.5 6.2)    CEL type
==================================  =================================
IS, SL, SS, SV, UL, US, UV          int
DS, FD, FL                          double
every text, PN, DA, TM, UI, AT      string
SQ, and bulk data (O*, UN)          never seen by a rule
==================================  =================================

A keyword whose Value Multiplicity in the dictionary (PS3.6) is not 1 is a list, also when the
instance holds one value, so that a rule means the same for every instance.
"""

from __future__ import annotations

import difflib

from pydicom.datadict import (
    dictionary_has_tag,
    dictionary_VM,
    dictionary_VR,
    keyword_dict,
    tag_for_keyword,
)
from pydicom.datadict import keyword_for_tag as _keyword_for_tag

from gateway.routing.errors import ExpressionError

INT_VR = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"})
"""Become int."""
DOUBLE_VR = frozenset({"DS", "FD", "FL"})
"""Become double."""
TEXT_VR = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
"""Become string."""
VISIBLE_VR = INT_VR | DOUBLE_VR | TEXT_VR
"""What a rule can see; the rest is sequences and bulk data."""

STUDY_DERIVED = frozenset({"modalities", "instances"})
"""Names under ``study`` that are no attributes."""
SERIES_DERIVED = frozenset({"instances", "uid", "sop_classes", "spacing", "orientation"})
"""Names under a series that are no attributes."""

PATIENT_AND_STUDY = frozenset({
    "PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthDate",
    "PatientSex", "PatientBirthTime", "QualityControlSubject", "OtherPatientIDs",
    "OtherPatientNames", "EthnicGroup", "PatientComments", "PatientSpeciesDescription",
    "PatientBreedDescription", "ResponsiblePerson", "ResponsibleOrganization",
    "PatientIdentityRemoved", "DeidentificationMethod", "AdmittingDiagnosesDescription",
    "PatientAge", "PatientSize", "PatientWeight", "PatientBodyMassIndex", "MedicalAlerts",
    "Allergies", "SmokingStatus", "PregnancyStatus", "LastMenstrualDate", "PatientState",
    "Occupation", "AdditionalPatientHistory", "AdmissionID", "ReasonForVisit",
    "ServiceEpisodeID", "ServiceEpisodeDescription", "PatientSexNeutered", "StudyInstanceUID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "ConsultingPhysicianName", "StudyID",
    "AccessionNumber", "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "RequestingService", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    "NumberOfPatientRelatedInstances",
})  # fmt: skip
"""Attributes of the Patient and Study information entities (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)."""


def keyword_for_tag(tag: int) -> str:
    """The keyword of a public, non-repeating element outside group 0002, or ``""``."""
    if tag < 0x00080000 or not dictionary_has_tag(tag):
        return ""
    return _keyword_for_tag(tag)


def is_list(tag: int) -> bool:
    """True when values of ``tag`` are lists."""
    return dictionary_VM(tag) != "1"


def check_keyword(name: str, derived: frozenset[str]) -> None:
    """Accept ``name`` after ``study.`` or a series; raises :class:`ExpressionError`."""
    if name in derived:
        return
    tag = tag_for_keyword(name)
    if tag is None:
        raise ExpressionError(
            f"unknown DICOM keyword {name!r}{nearest(name, derived | keyword_dict.keys())}"
        )
    vr = dictionary_VR(tag)
    if vr == "SQ":
        raise ExpressionError(f"{name} is a sequence, which rules cannot see")
    if vr not in VISIBLE_VR:
        raise ExpressionError(f"{name} is bulk data ({vr}), which rules cannot see")
    if tag < 0x00080000:
        raise ExpressionError(f"{name} belongs to no data set (group {tag >> 16:04X})")


def nearest(name: str, names: frozenset[str]) -> str:
    """``; did you mean 'x'?`` for the closest of ``names``, or ``""``."""
    lower = {candidate.lower(): candidate for candidate in sorted(names)}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""
