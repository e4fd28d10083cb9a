"""The command of register-results, shared by `python -m` and Clara's `python register.py`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.operators.register_results import record, registration
from gateway.operators.sdk import Context, UsageError, run


def register(context: Context) -> None:
    """Register every file of every input for one agent.

    Raises:
        UsageError, InputRefusedError: by the names listed in the package.
    """
    agent = registration.agent_name(context.options.agent)
    parameters = registration.parameters(agent, context.options.data)
    path = context.options.results or context.results
    if path is None:
        raise UsageError("NO_RESULTS_FILE", "set NVIDIA_CLARA_RESULTS or give --results")
    files = registration.list_files(context.inputs)
    entry = {"agent": agent, "parameters": parameters, "files": files}
    count = record.append(path, entry)
    context.log.info("results.registered", agent=agent, files=len(files), registrations=count)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", default=registration.DEFAULT_AGENT, help="who delivers")
    parser.add_argument("--data", help="JSON array with one element per destination")
    parser.add_argument("--results", type=Path, help="file for the registrations")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(
        "register-results",
        register,
        description="Register all files of all inputs as results.",
        options=_options,
        argv=argv,
        environ=environ,
    )
