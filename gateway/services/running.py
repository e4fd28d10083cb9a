"""What an engine must be able to do with services."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.executors.logfile import LogFile
from gateway.executors.serving import Links
from gateway.pipelines.model import Operator
from gateway.services.spec import Spec


@dataclass(frozen=True)
class Life:
    """One life of a service: what an engine needs to start it, again if it dies."""

    id: str
    spec: Spec
    devices: tuple[int, ...]
    common: Path
    """The folder that every service sees read-only."""
    volumes: Path
    """Folder of the folders it shares with operators."""
    log: LogFile
    grace: float
    """Seconds between the polite and the hard end."""
    pull_secrets: tuple[str, ...] = ()


class Running(Protocol):
    """A service's program; any thread."""

    def dial(self, port: int, timeout: float) -> socket.socket:
        """A connection to one of its ports, OSError when it takes none."""

    def ended(self) -> str | None:
        """How it ended, as half a sentence; None while it runs."""

    def stop(self) -> None:
        """End it: politely, after the grace by force.  Returns when nothing of it is left."""


@dataclass(frozen=True)
class Contact:
    """One connection of an operator."""

    variables: tuple[str, ...]
    """Those that hold its ``host:port`` in the operator."""
    port: int
    running: Callable[[], Running | None]
    """The service now; None while it is not ready."""
    spec: Spec
    life: str


class Runner(Protocol):
    """Services on one engine."""

    def obstacle(self, spec: Spec) -> str | None:
        """Why it can never run here, as a sentence, or None."""

    def start(self, life: Life) -> Running:
        """Start it; returns when its program executes.

        Raises :class:`~gateway.services.errors.ServiceFault` when it never will,
        :class:`~gateway.services.errors.ServiceLost` when it may yet.
        """

    def reap(self, life: str) -> None:
        """End whatever a dead gateway left of a life; GatewayError when something is left."""

    def link(
        self, operator: Operator, contacts: Sequence[Contact]
    ) -> AbstractContextManager[Links]:
        """Connect an operator; every service is ready."""
