"""Which SOP classes are for storage: everything that is not known to be something else.

A modality may send a class younger than this program or a private one; refusing it would lose
images, keeping it costs nothing.  So the question is answered by exclusion.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from gateway.dicom.not_storage import NOT_STORAGE, ROOT

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""The Storage Commitment Push Model (PS3.4 Annex J)."""

_SYNTAXES = "1.2."
"""What all transfer syntaxes begin with, after the root of DICOM (PS3.6 A)."""
_UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)*")


class Kind(Enum):
    """What an abstract syntax is to this gateway."""

    STORAGE = "storage"
    VERIFICATION = "verification"
    COMMITMENT = "storage commitment"
    OTHER = "other"


def is_uid(text: str) -> bool:
    """Whether ``text`` has the form of a UID; leading zeros, common in the field, pass."""
    return 0 < len(text) <= 64 and _UID_FORM.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def kind(sop_class_uid: str) -> Kind:
    """Tell storage from the other services of this gateway and from those it does not give."""
    if sop_class_uid == VERIFICATION:
        return Kind.VERIFICATION
    if sop_class_uid == STORAGE_COMMITMENT:
        return Kind.COMMITMENT
    if not is_uid(sop_class_uid):
        return Kind.OTHER
    if not sop_class_uid.startswith(ROOT):
        return Kind.STORAGE
    rest = sop_class_uid[len(ROOT) :]
    return Kind.OTHER if rest in NOT_STORAGE or rest.startswith(_SYNTAXES) else Kind.STORAGE
