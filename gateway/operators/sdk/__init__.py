"""What an operator needs to keep its contract, and nothing of the server.

An operator is a function of one `Context`, handed to `run`::

    from gateway.operators.sdk import Context, InputRefusedError, run

    def main(context: Context) -> None:
        source, target = context.input(), context.output()
        context.log.info("work.done", slices=30)

    if __name__ == "__main__":
        raise SystemExit(run("my-operator", main))

Under the gateway the inputs and outputs come from the environment (contract, section 5); alone they
come from `--input [NAME:]PATH` and `--output [NAME:]PATH`, each repeatable, which win over the
environment. `run` maps what happens to the exit codes in `ExitCode`.
"""

from __future__ import annotations

from gateway.operators.sdk.context import Context, Mount, parse_mounts
from gateway.operators.sdk.data import Slot
from gateway.operators.sdk.errors import ExitCode, InputRefusedError, OperatorError, UsageError
from gateway.operators.sdk.identity import (
    Patient,
    patient_of_dataset,
    refuse_mixed_patients,
)
from gateway.operators.sdk.log import Log, shown_path
from gateway.operators.sdk.runner import run

__all__ = [
    "Context",
    "ExitCode",
    "InputRefusedError",
    "Log",
    "Mount",
    "OperatorError",
    "Patient",
    "Slot",
    "UsageError",
    "parse_mounts",
    "patient_of_dataset",
    "refuse_mixed_patients",
    "run",
    "shown_path",
]
