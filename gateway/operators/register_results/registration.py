"""Makes a registration: agent, parameters and the files of all inputs."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.operators.sdk import InputRefusedError, Mount, UsageError

KNOWN_AGENTS: Final = ("ClaraSCU", "DICOMweb", "renderserver")
NAMING_AGENTS: Final = ("ClaraSCU", "DICOMweb")
DEFAULT_AGENT: Final = KNOWN_AGENTS[0]
MOST_FILES: Final = 100_000
MOST_PARAMETERS: Final = 100
MOST_DATA: Final = 1_000_000
_AGENT: Final = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .@-]{0,254}")


def agent_name(text: str) -> str:
    """Check an agent's name; a known one comes back in its usual spelling.

    Raises:
        UsageError: BAD_AGENT.
    """
    if not _AGENT.fullmatch(text):
        raise UsageError(
            "BAD_AGENT",
            "an agent's name has 1 to 64 letters, digits and hyphens, begins with a letter and "
            "does not end with a hyphen",
        )
    known = {name.lower(): name for name in KNOWN_AGENTS}
    return known.get(text.lower(), text)


def parameters(agent: str, data: str | None) -> list[Any] | None:
    """Read `--data`: one element per destination; None when there is no `--data`.

    Raises:
        UsageError: BAD_DATA.
    """
    if data is None or not data.strip():
        return None
    if len(data) > MOST_DATA:
        raise UsageError("BAD_DATA", "--data is too long")
    value = _value(data.strip())
    elements = value if isinstance(value, list) else [value]
    if not 1 <= len(elements) <= MOST_PARAMETERS:
        raise UsageError("BAD_DATA", f"--data has 1 to {MOST_PARAMETERS} elements")
    if agent in NAMING_AGENTS and not all(isinstance(e, str) and e for e in elements):
        raise UsageError("BAD_DATA", f"--data of {agent} holds names of destinations, as text")
    return elements


def _value(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        # Clara's examples quote carelessly: a shell often leaves PACS of '"PACS"'.
        if _WORD.fullmatch(data):
            return data
        raise UsageError("BAD_DATA", "--data is neither JSON nor a plain name") from error


def list_files(inputs: Sequence[Mount]) -> list[dict[str, str]]:
    """List every file of every input, in the inputs' order, each input's paths sorted.

    Raises:
        InputRefusedError: LINK, NOT_A_FILE, BAD_FILE_NAME, TOO_MANY_FILES, NOTHING_TO_REGISTER.
        UsageError: NO_INPUT, where there is no input or it is no folder.
    """
    if not inputs:
        raise UsageError("NO_INPUT", "there is no input to register")
    files: list[dict[str, str]] = []
    for mount in inputs:
        if not mount.path.is_dir():
            raise UsageError("NO_INPUT", f"the input {mount.name!r} is no folder")
        found = []
        for path in _walk(mount.path):
            found.append(_text(path.relative_to(mount.path)))
            if len(files) + len(found) > MOST_FILES:
                raise InputRefusedError("TOO_MANY_FILES", f"more than {MOST_FILES} files")
        files += [{"input": mount.name, "path": path} for path in sorted(found)]
    if not files:
        raise InputRefusedError("NOTHING_TO_REGISTER", "no input holds any file")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """Find plain files below a folder without following any link."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(mode):
                    yield Path(entry.path)
                else:
                    kind = "LINK" if stat.S_ISLNK(mode) else "NOT_A_FILE"
                    raise InputRefusedError(kind, "an input holds what is neither file nor folder")


def _text(path: Path) -> str:
    text = path.as_posix()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputRefusedError("BAD_FILE_NAME", "a file's name is not UTF-8") from error
    return text
