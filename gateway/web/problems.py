"""Every error as an RFC 9457 problem document."""

from __future__ import annotations

import http
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from gateway.errors import GatewayError, Refused, Transient
from gateway.render.errors import NoDataset, Unreadable
from gateway.web.accounts.accounts import WrongPassword
from gateway.web.accounts.attempts import TooMany
from gateway.web.accounts.passwords import WeakPassword
from gateway.web.accounts.tokens import UnknownToken
from gateway.web.accounts.users import BadName, UnknownUser
from gateway.web.listing import BadCursor

MEDIA_TYPE = "application/problem+json"


class NotFound(Refused):
    """The record or page asked for is not there."""


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
) -> JSONResponse:
    """Make a problem document; ``detail`` is a sentence for a person."""
    body = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail}
    return JSONResponse(
        body | extra,
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(headers) if headers else None,
    )


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every error of ``app`` by a problem document; the guard answers the rest.

    ``routes`` are all that it has: who uses a wrong method is told the right ones.
    """

    async def answered(request: Request, error: Exception) -> JSONResponse:
        return _http(request, error, routes)

    app.add_exception_handler(HTTPException, answered)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(GatewayError, _ours)


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _http(request: Request, error: Exception, routes: Sequence[BaseRoute]) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    detail = str(error.detail)
    if error.status_code == http.HTTPStatus.NOT_FOUND:
        detail = f"There is nothing at {request.url.path[:200]}."
    elif error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed(request, routes))
        detail = f"{request.method} is not possible here; allowed: {allowed}."
        return problem(error.status_code, detail, headers={"Allow": allowed})
    return problem(error.status_code, detail, headers=error.headers)


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> list[str]:
    """Every method at this path: the framework tells only those of the first route."""
    found: set[str] = set()
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    # The values given are not echoed: they may be a patient's.
    faults = [
        {"at": ".".join(str(part) for part in item["loc"]), "detail": str(item["msg"])}
        for item in error.errors()
    ]
    detail = "; ".join(f"{fault['at']}: {fault['detail']}" for fault in faults)
    return problem(422, detail, errors=faults)


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 409)
    if isinstance(error, Transient):
        wait = max(1, math.ceil(error.retry_after or 1))
        return problem(status, str(error), headers={"Retry-After": str(wait)})
    return problem(status, str(error))


_STATUS: Mapping[type[Exception], int] = {
    NotFound: 404,
    NoDataset: 404,
    Unreadable: 422,
    UnknownUser: 404,
    UnknownToken: 404,
    BadCursor: 422,
    BadName: 422,
    WeakPassword: 422,
    WrongPassword: 401,
    TooMany: 429,
    Transient: 503,
}
"""The status of an error of ours by its class; any other is a 409."""
