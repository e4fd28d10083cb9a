"""Definitions that lie in a folder, each with the files it imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.document import MAX_BYTES, ConfigError, Fault
from gateway.pipelines.sources import gather


@dataclass(frozen=True)
class Written:
    """A definition as it was written: its text, its name, the texts of what it imports."""

    text: str
    file: str
    files: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> Written:
    """Read the definition ``path`` and what it imports; :class:`ConfigError` if unreadable."""
    text = _text(path)
    return Written(text, str(path), gather(path, text))


def definitions(folder: Path) -> tuple[tuple[Written, ...], tuple[Fault, ...]]:
    """Every ``*.yaml`` and ``*.yml`` of ``folder`` but those that another one imports, by name.

    The faults are those of files that cannot be read.
    """
    found: list[Written] = []
    faults: list[Fault] = []
    for path in _files(folder):
        try:
            found.append(read(path))
        except ConfigError as error:
            faults += error.faults
    imported = {name for written in found for name in written.files}
    return tuple(w for w in found if w.file not in imported), tuple(faults)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith(".")
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return raw.decode()
    except OSError as error:
        message = error.strerror or str(error)
        raise ConfigError([Fault(str(path), None, "", message)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Fault(str(path), None, "", f"is not UTF-8: {error.reason}")]) from error
