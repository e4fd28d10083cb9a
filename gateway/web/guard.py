"""What every request and answer passes: a limit on bodies, no foreign pages, safe headers."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web import access
from gateway.web.access import SAFE_METHODS
from gateway.web.problems import problem

log = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class _TooLarge(Exception):  # noqa: N818 - internal signal
    """The body grew beyond the limit."""


class Guard:
    """ASGI middleware around every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] not in SAFE_METHODS and _foreign(headers):
            # A page of another site in a user's browser must not act on the gateway.
            answer = problem(403, "This request comes from a page of another site.")
            await answer(scope, receive, _with_headers(send))
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            answer = problem(422, "The address holds a NUL character.")
            await answer(scope, receive, _with_headers(send))
            return
        length = headers.get("content-length", "0")
        most = access.call(scope["method"], scope["path"]).access.body
        if not length.isdigit() or int(length) > most:
            await _too_large(most)(scope, receive, _with_headers(send))
            return
        await self._answered(scope, receive, _with_headers(send), most)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Let the application answer; its faults are logged once and answered as a problem."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._limited(scope, receive, noted, most)
        except Exception:  # the request's boundary: one that fails must not end the others
            extra = {"method": scope["method"], "route": scope["path"]}
            log.exception("a request failed", extra=extra)
            if started:
                raise
            answer = problem(500, "The gateway failed at this request; its log says why.")
            await answer(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        seen = 0
        answered = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal answered
            if seen <= most:
                await send(message)
            elif not answered:
                # The framework took our signal for a bad body: say what it really was.
                answered = True
                await _too_large(most)(scope, receive, send)

        await self._app(scope, counted, noted)


def _too_large(most: int) -> Any:
    return problem(413, f"The body is larger than {most} bytes.")


def _foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    return urlsplit(origin).netloc != headers.get("host")


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
