"""Which engines keep services, and how."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gateway.executors.container.executor import ContainerExecutor
from gateway.executors.process import ProcessExecutor
from gateway.executors.serving import Serving
from gateway.jobs.executor import Executor
from gateway.services.container import ContainerRunner
from gateway.services.process import ProcessRunner
from gateway.services.running import Runner

KEEPS_SERVICES = ("process", "container")
"""Names of the engines whose jobs may call services."""


@runtime_checkable
class Served(Protocol):
    """An engine that lets operators call services."""

    def serve(self, services: Serving) -> None:
        """Use ``services`` from now on; before the first job."""


def runner_of(executor: Executor) -> Runner | None:
    """What runs services on an engine; None where nothing does."""
    if isinstance(executor, ProcessExecutor):
        return ProcessRunner(executor.engine)
    if isinstance(executor, ContainerExecutor):
        return ContainerRunner(executor.engine)
    return None
