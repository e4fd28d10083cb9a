"""The shipped ``ae_config`` and ``pipelines``: beside the package in a checkout, else in it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str) -> Path:
    """The folder ``ae_config`` or ``pipelines`` as it was shipped."""
    for base in (_PACKAGE.parent, _PACKAGE / "share"):
        if (base / folder).is_dir():
            return base / folder
    raise FileNotFoundError(f"the shipped folder {folder} is missing")
