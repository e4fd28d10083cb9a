"""What becomes of an attempt once nothing of it runs any more.

Pure: from how its operators ended and why it was stopped to the event of the state table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.jobs.executor import End, OperatorEnd, Stop
from gateway.jobs.states import JobEvent
from gateway.pipelines.model import Definition, Operator

LOST_RETRIES = 3
"""Further attempts of a job whose engine or node was lost, whatever its definition says."""

WORTH_RETRYING = frozenset({End.EXIT_CODE, End.OUT_OF_MEMORY, End.OUTPUT_MISSING})
"""Ends that ``x-gateway: {retries}`` tries again; the others would only repeat."""


@dataclass(frozen=True)
class Fault:
    """The first thing that went wrong; ``operator`` None = before or between operators."""

    end: OperatorEnd
    operator: str | None = None


@dataclass(frozen=True)
class Halt:
    """Why the attempt was ended from outside."""

    why: Stop
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The event that ends the attempt, and what it says."""

    event: JobEvent
    reason: str | None = None
    exit_code: int | None = None


def judge(
    definition: Definition,
    ends: Mapping[str, OperatorEnd],
    fault: Fault | None,
    halt: Halt | None,
    retries: int,
) -> Verdict:
    """Decide the end of an attempt of a job that was retried ``retries`` times before.

    ``fault`` is what went wrong before anybody stopped it.  A cancel wins over everything, so
    that results a person did not want never leave; a job that completed in spite of a time-out or
    shutdown is complete.
    """
    if halt is not None and halt.why is Stop.CANCEL:
        return Verdict(JobEvent.CANCEL, halt.reason)
    if fault is None and all(
        operator.name in ends and ends[operator.name].end is End.COMPLETED
        for operator in definition.operators
    ):
        return Verdict(JobEvent.COMPLETE)
    if fault is None and halt is not None:
        if halt.why is Stop.SHUTDOWN:
            return Verdict(JobEvent.GIVE_UP, halt.reason)
        stopped = sorted(name for name, end in ends.items() if end.end is not End.COMPLETED)
        names = f"; stopped: {', '.join(stopped)}" if stopped else ""
        return Verdict(JobEvent.TIME_OUT, halt.reason + names)
    if fault is None:
        fault = Fault(OperatorEnd(End.LOST, "the engine ended the job without saying how"))
    return _of_fault(definition, fault, retries)


def explain(operator: Operator, end: OperatorEnd) -> str:
    """How ``operator`` ended, as a sentence that names it, its limit and its exit code."""
    if end.end is End.EXIT_CODE:
        code = f"exit code {end.exit_code}"
        # The engine may know more: the signal, a program that is missing, a full disk.
        said = end.reason if end.reason.startswith(code) else code
        return f"operator {operator.name} ended with {said}"
    if end.end is End.OUT_OF_MEMORY:
        limit = operator.requests.memory
        code = "" if end.exit_code is None else f", exit code {end.exit_code}"
        return f"operator {operator.name} used more than the {limit} MB it requests{code}"
    return f"operator {operator.name}: {end.reason}"


def _may_pass(end: OperatorEnd, operator: Operator | None) -> bool:
    """True for a fault that another attempt may not meet."""
    codes = None if operator is None else operator.retry_exit_codes
    if end.end is End.EXIT_CODE and codes is not None:
        return end.exit_code in codes
    return end.end in WORTH_RETRYING


def _of_fault(definition: Definition, fault: Fault, retries: int) -> Verdict:
    end = fault.end
    operator = None if fault.operator is None else definition.operator(fault.operator)
    reason = end.reason if operator is None else explain(operator, end)
    if end.end is End.LOST:
        if retries < max(LOST_RETRIES, definition.retries):
            return Verdict(JobEvent.RETRY, reason, end.exit_code)
        return Verdict(JobEvent.EVICT, f"{reason}; given up after {retries} retries", end.exit_code)
    allowed = max(definition.retries, operator.retries if operator else 0)
    if retries < allowed and _may_pass(end, operator):
        return Verdict(JobEvent.RETRY, reason, end.exit_code)
    return Verdict(JobEvent.FAULT, reason, end.exit_code)
