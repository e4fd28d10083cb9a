"""``/health``, ``/metrics`` and the small status page at ``/``."""

from __future__ import annotations

import html
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.engine import Connection

from gateway.database.schema import associations, jobs, payloads, quarantine, results
from gateway.monitor import health, metrics
from gateway.web.services import Given

router = APIRouter(tags=["watching"])

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:0 0 1.5rem}
td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #ddd}
td.n{text-align:right}
.ok{color:#06632f}.degraded{color:#8a5a00}.down{color:#a80000;font-weight:bold}
"""


@router.get("/health/live")
def live() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}


@router.get("/health/ready")
def ready(services: Given) -> JSONResponse:
    """Answer 200 when no part is down, else 503 naming the parts."""
    report = health.report(services.checks)
    down = [n for n, p in report.parts.items() if p.condition is health.Condition.DOWN]
    body = {"status": report.condition, "ready": report.ready, "down": down}
    return JSONResponse(body, status_code=200 if report.ready else 503)


@router.get("/health")
def whole_health(services: Given) -> dict[str, Any]:
    """Tell the condition of every part; always 200."""
    return {"version": services.version, **health.report(services.checks).body()}


_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", response_class=Response, responses=_TEXT)
def prometheus(services: Given) -> Response:
    """Give the metrics as Prometheus reads them."""
    return Response(metrics.exposition(services.registry), media_type=metrics.CONTENT_TYPE)


@router.get("/", include_in_schema=False)
def page(services: Given) -> HTMLResponse:
    """Show counts and the condition of every part, without a script."""
    report = health.report(services.checks)
    parts = "".join(
        f"<tr><td>{_text(name)}</td><td class={part.condition}>{part.condition}</td></tr>"
        for name, part in report.parts.items()
    )
    with services.database.read() as connection:
        counts = _counts(connection)
    rows = "".join(
        f"<tr><td>{_text(what)}</td><td>{_text(state)}</td><td class=n>{n}</td></tr>"
        for what, state, n in counts
    )
    body = (
        f"<h1>Gateway {_text(services.version)}</h1>"
        f"<p class={report.condition}>{report.condition}</p>"
        f"<h2>Parts</h2><table>{parts}</table>"
        f"<h2>Records</h2><table>{rows}</table>"
        '<p><a href="/health">health</a> · <a href="/metrics">metrics</a> · '
        '<a href="/api/v1/docs">API</a></p>'
    )
    return HTMLResponse(_document("Gateway", body))


def documentation(app: FastAPI) -> str:
    """The API's page: every route with its parameters, made from the OpenAPI description."""
    schema = app.openapi()
    rows = ""
    for path, methods in sorted(schema["paths"].items()):
        for method, operation in methods.items():
            names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            rows += (
                f"<tr><td>{method.upper()}</td><td><code>{_text(path)}</code></td>"
                f"<td>{_text(operation.get('description', ''))}</td>"
                f"<td>{_text(', '.join(names))}</td></tr>"
            )
    head = "<tr><th></th><th>Path</th><th>What</th><th>Query</th></tr>"
    body = (
        f"<h1>{_text(schema['info']['title'])} API</h1><p>{_text(schema['info']['description'])}"
        f' · <a href="/api/v1/openapi.json">OpenAPI</a></p><table>{head}{rows}</table>'
    )
    return _document("Gateway API", body)


async def docs_page(request: Request) -> HTMLResponse:
    """Serve :func:`documentation`; needs nothing from any other host."""
    return HTMLResponse(documentation(request.app))


def _counts(connection: Connection) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    for table in (associations, payloads, jobs, results):
        column = table.c.status if table is jobs else table.c.state
        keys = (jobs.c.state, jobs.c.status) if table is jobs else (column,)
        query = sa.select(*keys, sa.func.count()).group_by(*keys).order_by(*keys)
        for *states, n in connection.execute(query):
            found.append((table.name, " ".join(states), n))
    kept = sa.select(sa.func.count()).select_from(quarantine)
    unresolved = connection.scalar(kept.where(quarantine.c.resolved_at.is_(None)))
    found.append(("quarantine", "", int(unresolved or 0)))
    return found


def _text(value: str) -> str:
    return html.escape(str(value))


def _document(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(title)}</title>"
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
