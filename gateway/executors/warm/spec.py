"""What of a command can be warmed: a Python program, told by its command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.executors.images import Program
from gateway.executors.interpreter import search_path

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True)
class Spec:
    """A Python program and what it is told."""

    interpreter: str
    kind: str
    """``-m``: a module; ``-f``: a script."""
    name: str
    """The module's name, or the script's path."""
    arguments: tuple[str, ...]


def spec_of(program: Program, environ: Mapping[str, str]) -> Spec | None:
    """The Python program that ``program`` is; None when it is none or may not be warmed.

    ``environ``: what it is run with; its variables decide what a command's bare name means.
    """
    if not program.warm:
        return None
    command = program.command
    interpreter = _interpreter(command[0], environ.get("PATH", ""))
    if interpreter is None or any(name.startswith("PYTHON") for name in environ.keys() - _OURS):
        return None
    if len(command) > 2 and command[1] == "-m":
        return Spec(interpreter, "-m", command[2], command[3:])
    if len(command) > 1 and command[1].endswith(".py"):
        script = str(Path(program.folder, command[1]))
        return Spec(interpreter, "-f", script, command[2:])
    return None


_OURS = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


def _interpreter(word: str, path: str) -> str | None:
    if not _PYTHON.fullmatch(Path(word).name):
        return None
    if Path(word).is_absolute():
        return word
    if "/" in word or path != search_path():
        return None
    found = (Path(folder, word) for folder in search_path().split(":"))
    return next((str(each) for each in found if each.exists()), None)
