"""DCMTK's programs as peers (``TCP_NODELAY=1`` on both ends: see the environment notes)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import free_port, program, running, wait_for_port


@dataclass(frozen=True)
class StoreScp:
    """A running ``storescp``."""

    port: int
    aet: str
    folder: Path
    log: Path

    def files(self) -> list[Path]:
        """What it stored so far, sorted by name."""
        return sorted(self.folder.iterdir())


@contextmanager
def running_storescp(
    tmp_path: Path,
    aet: str = "STORESCP",
    options: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[StoreScp]:
    """``storescp`` on loopback, storing bit for bit into ``<tmp_path>/<aet>``.

    ``options`` are its own (``["--fork"]``, ``["--abort-during"]``…); ``port`` restarts one where
    it was, over the files it had.
    """
    command = program("storescp")
    port = port or free_port()
    folder = tmp_path / aet
    folder.mkdir(parents=True, exist_ok=True)
    log = tmp_path / f"{aet}.log"
    arguments = [command, "-aet", aet, "-od", str(folder), "+B", *options, str(port)]
    with running(arguments, log) as process:
        wait_for_port(port, process)
        yield StoreScp(port, aet, folder, log)


def storescu(
    paths: Sequence[Path],
    port: int,
    called: str,
    calling: str = "STORESCU",
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Send files or folders with ``storescu``; the caller looks at the return code."""
    command = ["storescu", "-aec", called, "-aet", calling, "+sd", "+r", *options]
    return _call([*command, "127.0.0.1", str(port), *map(str, paths)])


def echoscu(
    port: int, called: str, calling: str = "ECHOSCU", options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """One C-ECHO with ``echoscu``."""
    return _call(["echoscu", "-aec", called, "-aet", calling, *options, "127.0.0.1", str(port)])


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(command[0]), *command[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
