"""What the web room is handed by the composition root: records to read and actions to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from gateway.config.applications import Destination
from gateway.config.http import HttpSettings
from gateway.config.live import LiveAeConfig
from gateway.config.settings import GatewaySettings, StorageSettings
from gateway.database.engine import Database
from gateway.events.wake import Wakeups
from gateway.monitor.health import Check
from gateway.monitor.sampler import Machine
from gateway.render.cache import Cache
from gateway.web.console_files import STATIC

Echo = Callable[[Destination], float]
"""C-ECHO to a DICOM destination: its round trip in seconds, or an error of ours."""

Action = Callable[[str], object]
"""Changes the record of that id in a transaction of its own.

It raises :class:`~gateway.errors.Refused` when the record's state does not allow it; whether the
record exists is checked before, and every worker is woken afterwards.  What it returns is not used.
"""


@dataclass(frozen=True)
class Actions:
    """What people may do through REST."""

    cancel_job: Action
    rerun_job: Action
    retry_result: Action
    release_payload: Action
    """Release a payload in CONFLICT."""
    reroute_payload: Action
    """Evaluate the rules of the payload's newest revision again."""
    delete_payload: Action
    retry_quarantine: Action


@dataclass(frozen=True)
class Services:
    """Everything the web application works with."""

    database: Database
    wakeups: Wakeups
    ae_config: LiveAeConfig
    data_dir: Path
    version: str
    checks: Mapping[str, Check]
    """Health check of each part, by its name."""
    registry: CollectorRegistry
    """What ``/metrics`` shows."""
    actions: Actions
    http: HttpSettings = field(default_factory=HttpSettings)
    """Who is let in."""
    host_volumes: Sequence[str] = ()
    """Folders of this machine that definitions may name."""
    echo: Echo | None = None
    """Asks a destination by C-ECHO; None = this process sends nothing."""
    machine: Callable[[], Machine] = Machine
    """What was last seen of the machine."""
    storage: StorageSettings = field(default_factory=StorageSettings)
    """When images are refused."""
    settings: GatewaySettings | None = None
    """Everything that was set, to be shown without its secrets."""
    console: Path = STATIC
    """Where the console's built files lie."""
    render: Cache | None = None
    """Volumes of this process's render server; None = the web room makes its own."""

    @cached_property
    def volumes(self) -> Cache:
        """The volumes that are shown."""
        return self.render or Cache(self.data_dir)


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(_services)]
"""A route's parameter that is filled with the application's services."""
