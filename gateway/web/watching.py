"""``/health``, ``/metrics`` and the API's page."""

from __future__ import annotations

import html
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from gateway.monitor import health, metrics
from gateway.web.services import Given

router = APIRouter(tags=["watching"])

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:0 0 1.5rem}
td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;border-bottom:1px solid #ddd}
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


def _text(value: str) -> str:
    return html.escape(str(value))


def _document(title: str, body: str) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(title)}</title>"
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
