"""Processes looked at while they may end at any moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil


def command(process: psutil.Process | int) -> list[str]:
    """Arguments of a process; none once it has ended, be it reaped or not."""
    try:
        one = psutil.Process(process) if isinstance(process, int) else process
        return list(one.cmdline())
    except psutil.Error:
        return []


def peaks(root: int) -> Iterator[int]:
    """Largest resident size so far, in kB, of each living process of the family of ``root``."""
    family = [psutil.Process(root)]
    family += family[0].children(recursive=True)
    for one in family:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    yield int(line.split()[1])
