"""Settings of long-lived services."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.config.model import Settings


class TritonSettings(Settings):
    """The gateway's own Triton, which serves the models that definitions name in ``models``."""

    image: Annotated[str, Field(min_length=1, max_length=512)] = (
        "nvcr.io/nvidia/tritonserver:24.10-py3"
    )
    """Its image; the process executor runs what ``images`` says of it, else the program
    ``tritonserver`` of this machine.  23.10 or later: model control is closed to operators."""
    model_limit: Annotated[int, Field(ge=1, le=1000)] = 8
    """Most models loaded at once; those that no job needs make room, longest unused first."""
    load_seconds: Annotated[float, Field(gt=0)] = 300
    """Longest time that loading one model may take."""
    cpu: Annotated[float, Field(gt=0)] = 1
    """Cores that it holds while it runs."""
    memory_mb: Annotated[int, Field(gt=0)] = 2048
    """Memory that it holds while it runs, in MB."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Devices that are its own while it runs."""


class ServiceSettings(Settings):
    """Services that operators call."""

    idle_seconds: Annotated[float, Field(ge=0)] = 300
    """How long a service that no job needs is kept; less when a job waits for what it holds."""
    start_seconds: Annotated[float, Field(gt=0)] = 120
    """Longest time from a service's start until its ports are open."""
    triton: TritonSettings = TritonSettings()
    """The gateway's own Triton."""
