"""The verdict on an operator whose program ended, the same on every engine of this machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.executors import outputs, shared
from gateway.executors.stopping import StopFlag
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.model import Operator

RETRY_SECONDS = 1.0
"""Wait before an operator that was lost is tried again."""

_NOT_EXECUTED = (126, 127)
"""Exit codes of a shell that cannot execute a program."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    exit_code: int
    """As a shell tells it: 128 + n for signal n."""
    ran: bool
    """False when the sandbox failed before the program's turn came."""
    stopped: bool
    """The stop flag ended it."""
    out_of_memory: bool


def persist(
    job: JobRun, operator: Operator, stop: StopFlag, once: Callable[[], OperatorEnd]
) -> OperatorEnd:
    """Run ``once``, again as often as the operator allows while it is lost."""
    end = once()
    for _ in range(operator.retries):
        if end.end is not End.LOST or stop.is_set:
            break
        time.sleep(RETRY_SECONDS)
        end = once()
    if end.end is not End.COMPLETED and outputs.full(job):
        # Nobody reads them any more, and while the disk is full no job's end can be recorded.
        outputs.discard(job, operator)
    return end


def verdict(job: JobRun, operator: Operator, outcome: Outcome, last_line: str) -> OperatorEnd:
    """How an operator ended; ``last_line`` is that of its log.  Checks its outputs on the way."""
    code = outcome.exit_code
    if outcome.out_of_memory:
        reason = f"it needed more memory than the {operator.requests.memory} MB it asked for"
        return OperatorEnd(End.OUT_OF_MEMORY, reason, code)
    if outcome.stopped:
        return OperatorEnd(End.STOPPED, "it was ended from outside", code if outcome.ran else None)
    if not outcome.ran:
        return OperatorEnd(End.LOST, f"the sandbox could not be made: {last_line}")
    full = "; the disk that holds its outputs is full" if outputs.full(job) else ""
    if code != 0:
        return OperatorEnd(End.EXIT_CODE, ending(code, last_line) + full, code)
    fault = outputs.fault(job, operator) or shared.fault(job, operator)
    if fault is not None:
        return OperatorEnd(fault.end, fault.reason + full, code)
    if full:
        reason = f"its outputs may be cut short{full}"
        return OperatorEnd(End.OUTPUT_UNSAFE, reason, code)
    return OperatorEnd(End.COMPLETED, "", 0)


def ending(code: int, last_line: str) -> str:
    """An exit code in words; ``last_line`` is that of the program's log."""
    if code in _NOT_EXECUTED and last_line.startswith("operator: "):
        said = last_line.rpartition("exec: ")[2]
        return f"exit code {code}: its program cannot be executed in the sandbox: {said}"
    if code > 128:
        try:
            return f"exit code {code} ({signal.Signals(code - 128).name})"
        except ValueError:
            return f"exit code {code}"
    return f"exit code {code}"
