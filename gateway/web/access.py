"""Who may call what: one line for every route.

A call is allowed when its role reaches that of every line that fits it, so the table does not
depend on the order in which the framework looks at routes.  What fits no line is for
administrators, and a test walks all routes: one that is forgotten here is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.routing import compile_path

from gateway.web.accounts.roles import Role

SMALL = 64 * 1024
"""Largest request body where nothing else is said, in bytes."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Access:
    """Who may call a route, and what is done around it."""

    role: Role | None
    """None = everybody, whether signed in or not."""
    machine: bool = False
    """Programs of this machine may without a token, as ``http.machines`` says."""
    probe: bool = False
    """Answered whatever name it is asked by, and before there is a user."""
    audited: bool = True
    """A changing method stands in the audit list."""
    body: int = SMALL
    """Largest request body, in bytes."""


_PUBLIC = Access(None)
_PROBE = Access(None, probe=True)
_VIEWER = Access(Role.VIEWER)
_OPERATOR = Access(Role.OPERATOR)
_ADMINISTRATOR = Access(Role.ADMINISTRATOR)
_MACHINE = Access(Role.VIEWER, machine=True)
_POLLER = Access(Role.OPERATOR, machine=True, audited=False)
_DEFINITION = 1024 * 1024
_FILE = 64 * 1024 * 1024

_API = "/api/v1"
TABLE: dict[str, Access] = {
    "GET /health/live": _PROBE,
    "GET /health/ready": _PROBE,
    "GET /health": _MACHINE,
    "GET /metrics": _MACHINE,
    "GET /api/tasks/{agent}/pending": _POLLER,
    "PUT /api/tasks/success/{task_id}": _POLLER,
    "PUT /api/tasks/failure/{task_id}": _POLLER,
    # Signing in writes its own line: the middleware does not know who it was.
    "GET /api/v1/session": _PUBLIC,
    "POST /api/v1/session": Access(None, audited=False),
    "DELETE /api/v1/session": _VIEWER,
    "PUT /api/v1/session/password": _VIEWER,
    "POST /api/v1/pipelines/validate": Access(Role.VIEWER, audited=False, body=_DEFINITION),
    "POST /api/v1/pipelines": Access(Role.ADMINISTRATOR, body=_DEFINITION),
    "DELETE /api/v1/pipelines/{pipeline}": _ADMINISTRATOR,
    "POST /api/v1/rules/explain": Access(Role.VIEWER, audited=False),
    "POST /api/v1/rules/explain-file": Access(Role.VIEWER, audited=False, body=_FILE),
    "GET /api/v1/audit": _ADMINISTRATOR,
    **dict.fromkeys(
        (
            "GET /api/v1/users", "POST /api/v1/users", "PATCH /api/v1/users/{name}",
            "DELETE /api/v1/users/{name}", "GET /api/v1/tokens", "POST /api/v1/tokens",
            "DELETE /api/v1/tokens/{name}",
        ),
        _ADMINISTRATOR,
    ),
    **dict.fromkeys(
        (
            "POST /api/v1/jobs/{job_id}/cancel", "POST /api/v1/jobs/{job_id}/rerun",
            "POST /api/v1/jobs/{job_id}/prioritise", "POST /api/v1/results/{result_id}/retry",
            "POST /api/v1/results/{result_id}/resend", "POST /api/v1/payloads/{payload_id}/release",
            "POST /api/v1/payloads/{payload_id}/reroute", "DELETE /api/v1/payloads/{payload_id}",
            "POST /api/v1/quarantine/{quarantine_id}/retry", "POST /api/v1/scheduler/pause",
            "POST /api/v1/scheduler/drain", "POST /api/v1/scheduler/resume",
            "POST /api/v1/destinations/{name}/pause", "POST /api/v1/destinations/{name}/resume",
            "POST /api/v1/destinations/{name}/echo",
            "POST /api/v1/services/{service_id}/stop",
        ),
        _OPERATOR,
    ),
    **dict.fromkeys(
        (
            f"GET {_API}/{path}"
            for path in (
                "openapi.json", "docs", "stream", "overview", "system", "where", "scheduler",
                "payloads", "payloads/{payload_id}", "payloads/{payload_id}/timeline",
                "payloads/{payload_id}/instances", "destinations", "destinations/{name}", "sources",
                "applications", "jobs", "jobs/{job_id}", "jobs/{job_id}/logs",
                "jobs/{job_id}/graph", "jobs/{job_id}/operators/{operator}/log",
                "jobs/{job_id}/files", "jobs/{job_id}/files/{path:path}", "results",
                "results/{result_id}", "commitment-requests", "associations",
                "associations/{association_id}", "services", "services/{service_id}",
                "services/{service_id}/log", "events", "events/{event_id}", "decisions",
                "quarantine", "quarantine/{quarantine_id}", "pipelines", "pipelines/{pipeline}",
                "pipelines/{pipeline}/versions", "pipelines/{pipeline}/diff",
                "pipelines/{pipeline}/graph", "pipeline-cards", "schemas/pipeline", "rules",
                "reusable-payloads", "datasets", "datasets/{dataset_id}",
                "datasets/{dataset_id}/volumes/{volume_id}",
                "datasets/{dataset_id}/volumes/{volume_id}/levels/{name}",
                "datasets/{dataset_id}/volumes/{volume_id}/picture",
            )
        ),
        _VIEWER,
    ),
    # The console's files: they hold nothing that is not on every gateway.
    "GET /{path:path}": _PUBLIC,
}  # fmt: skip
"""By method and route, as the framework writes it."""

_RESERVED = re.compile(r"/+(api|health|metrics)(/|$)")


def _compiled() -> Iterator[tuple[str, str, re.Pattern[str], Access]]:
    for line, access in TABLE.items():
        method, _, template = line.partition(" ")
        yield method, template, compile_path(template)[0], access


_LINES = tuple(_compiled())
_CONSOLE = "/{path:path}"


def reserved(path: str) -> bool:
    """True for an address of the interfaces: the console's line does not speak for it."""
    return _RESERVED.match(path) is not None


@dataclass(frozen=True)
class Call:
    """A call as the table sees it."""

    access: Access
    template: str
    """The route, or the path itself when no line fits."""
    parameters: dict[str, str]
    """What stood in the place of the route's names."""


def call(method: str, path: str) -> Call:
    """What the table says about a call; HEAD is GET."""
    method = "GET" if method == "HEAD" else method
    found: Call | None = None
    for wanted, template, pattern, access in _LINES:
        if wanted != method or (template == _CONSOLE and reserved(path)):
            continue
        match = pattern.match(path)
        if match is not None and (found is None or _stricter(access, found.access)):
            found = Call(access, template, match.groupdict())
    return found or Call(_ADMINISTRATOR, path, {})


def _stricter(one: Access, other: Access) -> bool:
    if one.role is None:
        return False
    return other.role is None or (one.role is not other.role and one.role.reaches(other.role))
