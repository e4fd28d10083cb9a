"""Which version is installed."""

from __future__ import annotations

from importlib import metadata


def installed() -> str:
    """The version of the installed package."""
    return metadata.version("gateway")
