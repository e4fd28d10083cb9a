"""What the web room is handed by the composition root: records to read and actions to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from gateway.config.http import HttpSettings
from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.events.wake import Wakeups
from gateway.monitor.health import Check

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


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Given = Annotated[Services, Depends(_services)]
"""A route's parameter that is filled with the application's services."""
