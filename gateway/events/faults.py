"""Named points where a test may kill the process.

``GATEWAY_FAULT_POINT=<name>`` or ``<name>:<n>`` makes the n-th pass of that point (default the
first) end the process with SIGKILL, as a power cut between two instructions would.  Without the
variable a point costs one comparison.  Crash tests walk every name of every room's
``FAULT_POINTS``.
"""

from __future__ import annotations

import itertools
import os
import signal

VARIABLE = "GATEWAY_FAULT_POINT"


class _Trap:
    """Counts passes of the one armed point."""

    def __init__(self, spec: str) -> None:
        self.name, _, count = spec.partition(":")
        self.at = int(count or 1)
        self.passes = itertools.count(1)

    def spring(self) -> None:
        if next(self.passes) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


_trap = _Trap(os.environ.get(VARIABLE, ""))


def armed() -> bool:
    """True when a test armed any point."""
    return bool(_trap.name)


def point(name: str) -> None:
    """Die here if a test armed this point."""
    if _trap.name == name:
        _trap.spring()
