"""What the status of a C-STORE response means for delivery (PS3.4 Table B.2-1, PS3.7 Annex C)."""

from __future__ import annotations

from gateway.delivery.agent import Verdict

_DUPLICATE = 0x0111
_TRANSIENT = frozenset({0x0110, 0x0213})
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})

_WORDS = {
    0x0000: "success",
    0x0001: "requested optional attributes not supported",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class, stored",
}
_BY_CLASS = (
    (0xFF00, 0xA700, "out of resources"),
    (0xFF00, 0xA900, "data set does not match SOP class"),
    (0xF000, 0xB000, "warning"),
    (0xF000, 0xC000, "cannot understand"),
)


def verdict(status: int, *, sent_before: bool) -> Verdict:
    """Decide on one response.

    A duplicate counts as arrived when the same bytes may have been sent before (the answer was
    lost); otherwise the peer holds something else under this UID and ours was not stored.
    """
    if status == 0x0000:
        return Verdict.SENT
    duplicate_of_ours = status == _DUPLICATE and sent_before
    if status in _WARNINGS or status & 0xF000 == 0xB000 or duplicate_of_ours:
        return Verdict.WARNING
    if status & 0xFF00 == 0xA700 or status in _TRANSIENT:
        return Verdict.TRANSIENT
    return Verdict.PERMANENT


def words(status: int) -> str:
    """The status for people, in our words: a peer's own may hold patient data."""
    named = _WORDS.get(status) or next(
        (text for mask, value, text in _BY_CLASS if status & mask == value), "unknown status"
    )
    return f"{named} ({status:04X}H)"
