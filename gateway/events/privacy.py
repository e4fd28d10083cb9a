"""Which names hold patient data, so that logs and events can drop them.

The rule is the contract's section 9: DICOM UIDs, AE titles and hosts are allowed; patient ID,
name, birth date, accession number and descriptions are not.  This guard is the second line: no
room should hand such a value over in the first place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEYS = frozenset(
    {
        "accession",
        "accessionnumber",
        "admissionid",
        "attributes",
        "birthdate",
        "groupkey",
        "institutionname",
        "issuerofpatientid",
        "medicalrecordlocator",
        "operatorsname",
        "otherpatientids",
        "otherpatientnames",
        "performedprocedurestepdescription",
        "performingphysicianname",
        "protocolname",
        "referringphysicianname",
        "requestedproceduredescription",
        "requestingphysician",
        "responsibleperson",
        "seriesdescription",
        "studydescription",
        "studyid",
        "values",
    }
)
# The folder of a raw payload is named after the patient: input/dcm/<patient>/<study>/…
_PATIENT_FOLDER = re.compile(r"(\bdcm/)(?!\*)[^/\s\"']+(?=/)")
# SQLAlchemy shows the bound values of a statement that failed.
_BOUND_VALUES = re.compile(r"\[parameters: .*?\](?=\n|$)", re.DOTALL)
# PostgreSQL quotes the values of the row that it refused.
_REFUSED_VALUES = re.compile(r"^(\s*)(DETAIL|CONTEXT|unnamed portal parameter)\b.*$", re.MULTILINE)
_DEPTH = 6


def is_patient_key(name: str) -> bool:
    """True when a value called ``name`` (any spelling) may hold patient data."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain in _KEYS or plain.startswith("patient") or "birthdate" in plain


def scrub_text(text: str) -> str:
    """Hide the patient's folder name and the values of SQL in a text for people."""
    text = _PATIENT_FOLDER.sub(r"\1*", text)
    text = _BOUND_VALUES.sub("[parameters hidden]", text)
    return _REFUSED_VALUES.sub(r"\1\2 hidden", text)


def scrub(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` for JSON without entries whose key names patient data.

    Mappings and lists are followed to a fixed depth; what lies deeper is left out.  Anything that
    JSON does not know becomes its text.
    """
    if isinstance(value, str):
        return scrub_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(k): scrub(v, depth + 1) for k, v in value.items() if not is_patient_key(str(k))}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(item, depth + 1) for item in value]
    return scrub_text(str(value))
