"""The state machine of a destination's circuit, as a table.

::

    CLOSED ──limit──▶ OPEN ──due──▶ HALF_OPEN ──success──▶ CLOSED
                       ▲                 │
                       └──failure────────┘

CLOSED: deliver freely.  OPEN: the destination failed several times in a row; leave it alone until
``retry_at``.  HALF_OPEN: the next association is the probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

FAULT_POINTS = (
    "delivery.claimed",
    "delivery.answered",
    "delivery.recorded",
    "delivery.unsettled",
    "delivery.settled",
    "delivery.folder-written",
)
"""Where crash tests kill the process in this room (:mod:`gateway.events.faults`)."""


class Circuit(StrEnum):
    """States of a circuit."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Signal(StrEnum):
    """What may happen to a circuit."""

    SUCCESS = "success"
    """An association did its work."""
    FAILURE = "failure"
    """An association failed, the limit is not reached."""
    LIMIT = "limit"
    """An association failed, and so did the ones before: the limit is reached."""
    DUE = "due"
    """``retry_at`` has come."""
    CHANGED = "changed"
    """The destination's configuration was changed: what failed may be mended."""


CIRCUIT: Mapping[tuple[Circuit, Signal], Circuit] = MappingProxyType(
    {
        (Circuit.CLOSED, Signal.SUCCESS): Circuit.CLOSED,
        (Circuit.CLOSED, Signal.FAILURE): Circuit.CLOSED,
        (Circuit.CLOSED, Signal.LIMIT): Circuit.OPEN,
        (Circuit.CLOSED, Signal.CHANGED): Circuit.CLOSED,
        (Circuit.OPEN, Signal.DUE): Circuit.HALF_OPEN,
        (Circuit.OPEN, Signal.CHANGED): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Signal.SUCCESS): Circuit.CLOSED,
        (Circuit.HALF_OPEN, Signal.FAILURE): Circuit.OPEN,
        (Circuit.HALF_OPEN, Signal.LIMIT): Circuit.OPEN,
        # The process that probed was killed, or the configuration changed meanwhile.
        (Circuit.HALF_OPEN, Signal.DUE): Circuit.HALF_OPEN,
        (Circuit.HALF_OPEN, Signal.CHANGED): Circuit.HALF_OPEN,
    }
)
