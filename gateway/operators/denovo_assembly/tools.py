"""Runs the programs of others: lists of arguments, outputs to files, errors by name."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.operators.sdk import OperatorError, UsageError
from gateway.operators.sdk.log import Log

TAIL_BYTES: Final = 2000
VERSION_SECONDS: Final = 20
_VALUE: Final = re.compile(r"[0-9][0-9.,]*[kKmMgG]?")


def run_tool(log: Log, program: str, arguments: Sequence[str | Path], output: Path) -> None:
    """Run a program with its standard output into a file, which appears only when it is whole.

    Raises:
        OperatorError: TOOL_MISSING or TOOL_FAILED.
    """
    path = located(program)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part")
    errors = output.with_name(f".{output.name}.err")
    command = [path, *(str(argument) for argument in arguments)]
    with part.open("wb") as out, errors.open("wb") as err:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
        )
    failed = done.returncode != 0
    lines = len(errors.read_bytes().splitlines())
    errors.unlink()
    if failed:
        part.unlink()
        # What it said may quote a read's name, and those say whose they are.
        raise OperatorError("TOOL_FAILED", f"{program} ended with {done.returncode}")
    part.replace(output)
    log.info("tool.ended", program=program, bytes=output.stat().st_size, messages=lines)


def located(program: str) -> str:
    """Find a program.

    Raises:
        OperatorError: TOOL_MISSING, it is not on PATH.
    """
    path = shutil.which(program)
    if path is None:
        raise OperatorError("TOOL_MISSING", f"the program {program} is not installed")
    return path


def version_of(program: str) -> str:
    """Ask a program for its version; empty if it tells none."""
    done = subprocess.run(
        [located(program), "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VERSION_SECONDS,
        check=False,
    )
    words = done.stdout.decode("ascii", "replace").split()
    return words[-1].removeprefix("v") if words and done.returncode == 0 else ""


def more_options(text: str, allowed: Mapping[str, int]) -> list[str]:
    """Read further options of a program, of which only those `allowed` may stand there.

    `allowed` maps an option to how many values follow it. Values are numbers: nothing that could
    name a file gets through.

    Raises:
        UsageError: BAD_OPTION.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError("BAD_OPTION", "further options end within quotes") from error
    found: list[str] = []
    while words:
        option = words.pop(0)
        values = words[: allowed.get(option, 0)]
        del words[: len(values)]
        if len(values) != allowed.get(option, -1) or not all(map(_VALUE.fullmatch, values)):
            names = ", ".join(allowed)
            raise UsageError("BAD_OPTION", f"further options are {names}, each with its number")
        found += [option, *values]
    return found
