"""What an operator may need that an engine of one machine does not give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.executors.serving import Serving
from gateway.jobs.executor import End, OperatorEnd
from gateway.pipelines.model import Operator


def obstacle(
    engine: str,
    operator: Operator,
    host_volumes: Sequence[str],
    services: Serving | None = None,
) -> OperatorEnd | None:
    """Why ``operator`` can never run on the executor ``engine``, or None.

    ``host_volumes`` are the folders of this machine that operators may ask for.
    """
    end = _unserved(engine, operator) if services is None else services.obstacle(operator)
    if end is not None:
        return end
    why = forbidden(operator.host_volume, host_volumes)
    return None if why is None else OperatorEnd(End.IMAGE_MISSING, why)


def forbidden(volume: str | None, host_volumes: Sequence[str]) -> str | None:
    """Why a program may not see the folder ``volume`` of this machine; None = it may.

    Asked at each start: a job's values may name another folder than the one that was checked when
    the pipeline was registered, the settings may have changed, and links may lead elsewhere.
    """
    if volume is None or _allowed(volume, host_volumes):
        return None
    return f"`host-volumes` of gateway.yaml does not allow the folder {volume}"


def _unserved(engine: str, operator: Operator) -> OperatorEnd | None:
    """What the operator asks of services where there are none."""
    image = f"{operator.image}:{operator.tag}"
    if operator.services:
        names = ", ".join(s.name for s in operator.services)
        reason = f"the {engine} executor runs no services, and {image} needs: {names}"
        return OperatorEnd(End.IMAGE_MISSING, reason)
    if operator.models:
        names = ", ".join(operator.models)
        reason = f"the {engine} executor loads no models, and {image} needs: {names}"
        return OperatorEnd(End.IMAGE_MISSING, reason)
    return None


def _allowed(volume: str, host_volumes: Sequence[str]) -> bool:
    """True when the folder is there and is, links followed, one that operators may ask for."""
    path = Path(volume)
    real = path.resolve()
    inside = any(real.is_relative_to(Path(a).resolve()) for a in host_volumes)
    return inside and path.is_dir()
