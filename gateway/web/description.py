"""The OpenAPI description: what FastAPI derives from the routes, and the errors as they are.

FastAPI describes its own form of a 422 and knows nothing of what handlers answer.  Here every
error is the problem document it is, and a page made from the description, or a client, sees which
ones a route has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.web.problems import MEDIA_TYPE

_PROBLEM = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "the status in words"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "a sentence for a person"},
        "errors": {
            "type": "array",
            "description": "where a request does not fit this description",
            "items": {
                "type": "object",
                "required": ["at", "detail"],
                "properties": {"at": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_STOCK = ("HTTPValidationError", "ValidationError")
"""Schemas of the errors that FastAPI would answer by itself."""


def install(app: FastAPI) -> None:
    """Let ``app`` describe itself so; its routes are complete by then."""
    app.openapi = _describing(app)  # type: ignore[method-assign]


def _describing(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    return describe


def _description(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in _STOCK:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            operation["responses"].update(_errors(path, method, operation))
    return found


def _errors(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    """The errors of one operation by their status."""
    told = {"default": "any other error"}
    if operation.get("parameters") or "requestBody" in operation:
        told["422"] = "a parameter or the body does not fit"
    if "{" in path:
        told["404"] = "there is no such record"
    if method != "get":
        told["409"] = "not possible in the present state"
    return {
        status: {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, text in sorted(told.items())
    }
