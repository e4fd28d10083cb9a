"""Run an operator: build its context, call it, map what happened to an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.operators.sdk.context import INPUTS, OUTPUTS, Context, Mount, parse_mounts
from gateway.operators.sdk.data import DATA_INPUTS, DATA_OUTPUTS, parse_slots
from gateway.operators.sdk.errors import ExitCode, OperatorError
from gateway.operators.sdk.log import Log

Options = Callable[[argparse.ArgumentParser], None]


def run(
    operator: str,
    main: Callable[[Context], None],
    *,
    description: str = "",
    options: Options | None = None,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Call `main` with its context and return the exit code.

    `options` may add the operator's own arguments to the parser. An `OperatorError` ends with its
    own code; anything else ends with 1 and is logged by type and place only, for messages of
    libraries quote the values they choke on, and those may be a patient's.

    Raises:
        SystemExit: by argparse, with 2, for a wrong command line, and with 0 for `--help`.
    """
    environ = os.environ if environ is None else environ
    parsed = _parser(operator, description, options).parse_args(argv)
    log = Log(
        operator,
        sys.stderr,
        job=environ.get("NVIDIA_CLARA_JOBID", ""),
        stage=environ.get("NVIDIA_CLARA_STAGENAME", ""),
    )
    try:
        with _quiet_libraries():
            main(_context(parsed, environ, log))
    except OperatorError as error:
        log.failure("operator.failed", code=error.code, message=error.message)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 -- the process boundary: log, then the exit code
        log.failure("operator.crashed", code=type(error).__name__, trace=_places(error))
        return ExitCode.UNEXPECTED
    return ExitCode.OK


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep libraries from writing to standard error: pydicom's warnings quote patients' names.

    Without any handler Python prints warnings of every logger itself, hence the null handler.
    """
    handler, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)


def _parser(operator: str, description: str, options: Options | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=operator, description=description)
    for kind, variable in (("input", INPUTS), ("output", OUTPUTS)):
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar="[NAME:]PATH",
            help=f"{kind} folder, repeatable; wins over {variable}",
        )
    if options is not None:
        options(parser)
    return parser


def _context(parsed: argparse.Namespace, environ: Mapping[str, str], log: Log) -> Context:
    return Context(
        inputs=_mounts(parsed.input, environ.get(INPUTS, "")),
        outputs=_mounts(parsed.output, environ.get(OUTPUTS, "")),
        job_id=environ.get("NVIDIA_CLARA_JOBID", ""),
        job_name=environ.get("NVIDIA_CLARA_JOBNAME", ""),
        payload_id=environ.get("NVIDIA_CLARA_PAYLOADID", ""),
        stage_name=environ.get("NVIDIA_CLARA_STAGENAME", ""),
        results=_path(environ.get("NVIDIA_CLARA_RESULTS", "")),
        environ=environ,
        options=parsed,
        log=log,
        data_inputs=parse_slots(environ.get(DATA_INPUTS, "")),
        data_outputs=parse_slots(environ.get(DATA_OUTPUTS, "")),
    )


def _mounts(given: Sequence[str], variable: str) -> tuple[Mount, ...]:
    return parse_mounts(";".join(given)) if given else parse_mounts(variable)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
