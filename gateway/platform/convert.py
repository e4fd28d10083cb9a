"""Between records and messages: identifiers, times, states."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from gateway.jobs.states import OperatorStatus, State, Status
from gateway.platform.errors import invalid
from gateway.platform.wire.common_pb2 import Identifier, ResponseHeader, Timestamp
from gateway.platform.wire.jobs_pb2 import (
    JobOperatorStatus,
    JobPriority,
    JobState,
    JobStatus,
)

UNIX_EPOCH = 62135596800
"""Seconds between 0001-01-01T00:00:00Z, where the API's times begin, and the Unix epoch."""
LAST_SECOND = 253402300799
"""Unix time of 9999-12-31T23:59:59Z: no later time is a date."""

_FORMS = re.compile(
    r"[0-9a-f]{32}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\{[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\}"
    r"|\([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\)"
)

STATES: Mapping[State, JobState] = {
    State.PENDING: JobState.JOB_STATE_PENDING,
    State.RUNNING: JobState.JOB_STATE_RUNNING,
    State.STOPPED: JobState.JOB_STATE_STOPPED,
}
STATUSES: Mapping[Status, JobStatus] = {
    Status.HEALTHY: JobStatus.JOB_STATUS_HEALTHY,
    Status.FAULTED: JobStatus.JOB_STATUS_FAULTED,
    Status.CANCELED: JobStatus.JOB_STATUS_CANCELED,
    Status.EVICTED: JobStatus.JOB_STATUS_EVICTED,
    Status.TERMINATED: JobStatus.JOB_STATUS_TERMINATED,
}
PRIORITIES: Mapping[int, JobPriority] = {
    1: JobPriority.JOB_PRIORITY_LOWER,
    2: JobPriority.JOB_PRIORITY_NORMAL,
    3: JobPriority.JOB_PRIORITY_HIGHER,
    4: JobPriority.JOB_PRIORITY_IMMEDIATE,
}
OPERATOR_STATUSES: Mapping[OperatorStatus, JobOperatorStatus] = {
    OperatorStatus.PENDING: JobOperatorStatus.JOB_OPERATOR_STATUS_PENDING,
    OperatorStatus.RUNNING: JobOperatorStatus.JOB_OPERATOR_STATUS_RUNNING,
    OperatorStatus.COMPLETED: JobOperatorStatus.JOB_OPERATOR_STATUS_COMPLETED,
    OperatorStatus.FAULTED: JobOperatorStatus.JOB_OPERATOR_STATUS_FAULTED,
}


def ok() -> ResponseHeader:
    """The header of an answer without error."""
    return ResponseHeader()


def identifier(value: str) -> Identifier:
    """One of our identifiers as a message."""
    return Identifier(value=value)


def identified(given: Identifier, what: str) -> str:
    """The identifier a caller sent as 32 lower-case hex digits; any GUID form is taken.

    ``what`` is the word for the thing in the error.
    """
    text = given.value.strip().lower()
    if not _FORMS.fullmatch(text):
        if not text:
            raise invalid(f"the {what} id is missing")
        raise invalid(f"{given.value[:64]!r} is no {what} id: 32 hexadecimal digits")
    return text.strip("{}()").replace("-", "")


def timestamp(at: float | None) -> Timestamp:
    """A time of our records (Unix seconds) as a message; None = not set."""
    return Timestamp() if at is None else Timestamp(value=int(at) + UNIX_EPOCH)


def old_time(at: float | None) -> str:
    """A time in the form of the API's first versions; empty = not set."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def unix(given: Timestamp) -> float:
    """A caller's time as Unix seconds."""
    at = given.value - UNIX_EPOCH
    if not -UNIX_EPOCH <= at <= LAST_SECOND:
        raise invalid(f"{given.value} is no time: whole seconds since 0001-01-01T00:00:00Z")
    return float(at)
