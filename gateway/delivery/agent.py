"""What the worker asks of an agent and what an agent reports, whatever the transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from gateway.config.applications import Destination
from gateway.errors import Transient


class Verdict(StrEnum):
    """What a destination's answer for one file means."""

    SENT = "sent"
    """Positive: the destination has it."""
    WARNING = "warning"
    """Positive with a warning: it has it, perhaps coerced."""
    TRANSIENT = "transient"
    """Not stored, may go right by itself (out of resources, connection lost)."""
    PERMANENT = "permanent"
    """Not stored, and the same bytes will hardly ever be (not understood, class not supported)."""
    HOPELESS = "hopeless"
    """Cannot even be tried (no DICOM file, file changed or gone): no further try."""


POSITIVE = frozenset({Verdict.SENT, Verdict.WARNING})


@dataclass(frozen=True)
class Item:
    """One file to deliver."""

    file_id: int
    result_id: str
    job_id: str
    folder: Path
    """The job payload."""
    path: str
    """Relative to ``folder``."""
    size: int
    sop_instance_uid: str | None
    """None = no DICOM file."""
    sop_class_uid: str | None
    transfer_syntax_uid: str | None
    tries: int
    """Times it was, or may have been, sent before."""


@dataclass(frozen=True)
class Answer:
    """What became of one file.

    ``comment`` is the peer's Error Comment or our reason: no patient data is added to it here.
    """

    verdict: Verdict
    status: int | None = None
    comment: str = ""


Answered = Callable[[Item, Answer], None]
"""Called once per file that was tried; when it returns, the answer is on disk."""


class LinkError(Transient):
    """The destination could not be reached, refused the association or broke it off.

    ``in_flight`` are files that may have arrived although no answer came back.  ``busy``: it
    works and took no further association now.
    """

    def __init__(self, message: str, in_flight: Sequence[Item] = (), *, busy: bool = False) -> None:
        super().__init__(message)
        self.in_flight = tuple(in_flight)
        self.busy = busy


class Agent(Protocol):
    """Delivers files to one destination; used by one thread at a time per destination."""

    def deliver(
        self,
        destination: Destination,
        items: Sequence[Item],
        answered: Answered,
        stopped: Callable[[], bool],
    ) -> bool:
        """Deliver ``items`` in order, report each one; True when the destination was reached.

        Returns early, without reporting the rest, when ``stopped()`` turns true.  Raises
        :class:`LinkError` when the destination itself fails; files not yet reported stay as they
        were.
        """
