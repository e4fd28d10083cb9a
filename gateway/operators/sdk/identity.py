"""Whose images these are: told apart without showing a name.

A patient is told by Patient ID (0010,0020) and its issuer (0010,0021), PS3.3 C.7.1.1; without a
Patient ID by name and birth date. Birth dates and sexes that contradict each other under one
Patient ID are two patients: such a study must never be read as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from gateway.operators.sdk.errors import InputRefusedError


@dataclass(frozen=True, slots=True)
class Patient:
    """The attributes that tell one patient from another, as text without padding."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""

    def digest(self) -> str:
        """Return a SHA-256 (hex) that is equal for the same Patient ID, or name and birth date.

        The issuer is left out, for systems on the way add it; it counts in `contradicts`.
        """
        parts = ("id", self.patient_id)
        if not self.patient_id:
            parts = ("name", f"{_plain_name(self.name)}\x00{self.birth_date}")
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()

    def contradicts(self, other: Patient) -> bool:
        """Say whether the two cannot be one patient; what either leaves empty contradicts nothing.

        A Patient ID against none is a contradiction: nobody knows whether they belong together.
        """
        if self.digest() != other.digest():
            return True
        pairs = (
            (self.issuer, other.issuer),
            (self.birth_date, other.birth_date),
            (self.sex, other.sex),
        )
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


def patient_of_dataset(dataset: Dataset) -> Patient:
    """Read the identifying attributes of a data set; what is absent is empty."""

    def text(keyword: str) -> str:
        return str(dataset.get(keyword) or "").strip()

    return Patient(
        patient_id=text("PatientID"),
        issuer=text("IssuerOfPatientID"),
        name=text("PatientName"),
        birth_date=text("PatientBirthDate"),
        sex=text("PatientSex"),
    )


def refuse_mixed_patients(patients: Iterable[Patient]) -> Patient:
    """Return the one patient of all, with what any instance adds.

    Raises:
        InputRefusedError: MIXED_PATIENTS, or NO_INSTANCES where there is none.
    """
    whole: Patient | None = None
    for patient in patients:
        if whole is None:
            whole = patient
        elif patient != whole:
            whole = _merged(whole, patient)
    if whole is None:
        raise InputRefusedError("NO_INSTANCES", "there is no instance to tell a patient from")
    return whole


def _merged(whole: Patient, patient: Patient) -> Patient:
    if whole.contradicts(patient):
        raise InputRefusedError(
            "MIXED_PATIENTS", "the instances belong to more than one patient; nothing was read"
        )
    return Patient(
        patient_id=whole.patient_id,
        issuer=whole.issuer or patient.issuer,
        name=whole.name or patient.name,
        birth_date=whole.birth_date or patient.birth_date,
        sex=whole.sex or patient.sex,
    )


def _plain_name(name: str) -> str:
    alphabetic = name.split("=", 1)[0].upper()
    return "^".join(part.strip() for part in alphabetic.split("^")).rstrip("^")
