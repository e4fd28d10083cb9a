"""A pipeline's graph as data, for whoever draws it; of a job with what became of each operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.schema import jobs, operators
from gateway.pipelines import registry
from gateway.pipelines.graph import levels
from gateway.pipelines.model import Definition, Operator
from gateway.web.records import shown

_STATE = ("status", "reason", "exit_code", "started_at", "stopped_at")


def of_definition(definition: Definition) -> dict[str, Any]:
    """Nodes and edges of a definition."""
    level = {name: n for n, names in enumerate(levels(definition)) for name in names}
    return {
        "nodes": [_node(each, level[each.name]) for each in definition.operators],
        "edges": list(_edges(definition)),
    }


def of_job(connection: Connection, job_id: str) -> dict[str, Any] | None:
    """The graph of a job's pipeline with the operators of its last attempt; None = no such job."""
    query = sa.select(jobs.c.pipeline_id, jobs.c.attempt).where(jobs.c.id == job_id)
    job = connection.execute(query).one_or_none()
    if job is None:
        return None
    made = of_definition(registry.get(connection, job.pipeline_id).definition)
    last = sa.select(sa.func.max(operators.c.attempt)).where(operators.c.job_id == job_id)
    rows = connection.execute(
        sa.select(operators).where(
            operators.c.job_id == job_id, operators.c.attempt == last.scalar_subquery()
        )
    ).mappings()
    ran = {row["name"].lower(): row for row in rows}
    for node in made["nodes"]:
        node |= _became(ran.get(node["name"].lower()))
    attempt = max((row["attempt"] for row in ran.values()), default=job.attempt)
    return {"job_id": job_id, "attempt": attempt, **made}


def _became(row: Mapping[Any, Any] | None) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys((*_STATE, "seconds"))
    found = shown({name: row[name] for name in _STATE})
    ended = row["started_at"] is not None and row["stopped_at"] is not None
    found["seconds"] = round(row["stopped_at"] - row["started_at"], 3) if ended else None
    return found


def _node(operator: Operator, level: int) -> dict[str, Any]:
    return {
        "name": operator.name,
        "description": operator.description,
        "image": operator.image,
        "cpu": operator.requests.cpu,
        "memory_mb": operator.requests.memory,
        "gpus": operator.requests.gpu,
        "services": [service.name for service in operator.services],
        "level": level,
    }


def _edges(definition: Definition) -> Iterator[dict[str, Any]]:
    for operator in definition.operators:
        for item in operator.inputs:
            name = item.name or item.path
            yield {
                "source": item.source, "target": operator.name, "name": name, "kind": "folder",
            }  # fmt: skip
        for data in operator.data_inputs:
            yield {
                "source": data.source, "target": operator.name, "name": data.name, "kind": "data",
            }  # fmt: skip
