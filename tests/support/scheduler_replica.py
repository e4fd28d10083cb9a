"""One of several schedulers on one PostgreSQL, in a process that a test kills or stops."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

# Imported here so that a fork server loads it once for all of them.
from gateway.database import migrate
from gateway.jobs.presence import Lease
from tests.support.databases import SERVER
from tests.support.jobs_world import World

PRELOADED = (migrate,)
BRIEF = Lease(seconds=2.0, margin=1.0)
"""So that a test need not wait long for others to take a hung scheduler for dead."""


def live(data_dir: Path, server: str, lease: Lease) -> None:
    """Schedule until SIGTERM."""
    os.environ[SERVER] = server
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: over.set())
    world = World(data_dir)
    with world.scheduling(world.scheduler(poll=0.05, lease=lease)):
        over.wait()
    world.close()
