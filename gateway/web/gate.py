"""The gate before every route: the name asked for, who asks, whether the role reaches, CSRF.

It also keeps the audit list: a changing call is written down before it is done.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.config.http import HttpSettings
from gateway.web import access
from gateway.web.access import SAFE_METHODS, Access, Call
from gateway.web.accounts.accounts import Accounts, Shown
from gateway.web.accounts.roles import Identity, Via
from gateway.web.accounts.sessions import COOKIE
from gateway.web.problems import problem

log = logging.getLogger(__name__)

CSRF_HEADER = "X-CSRF-Token"
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_WORDS = ("operator", "priority", "pipeline", "called", "calling", "last")
"""Query parameters that the audit list keeps: none of them is a patient's."""
_NO_USERS = (
    "The gateway has no users yet, so nothing is answered here: make the first one on its machine "
    "with `gateway create user NAME --role administrator`."
)


class Gate:
    """ASGI middleware; inside the guard, around the routes."""

    def __init__(self, app: ASGIApp, accounts: Accounts, http: HttpSettings) -> None:
        self._app = app
        self._accounts = accounts
        self._http = http
        self._hosts = frozenset(_bare(host) for host in http.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        call = access.call(scope["method"], scope["path"])
        refusal: Response | None = None
        if not call.access.probe and not self._known_host(headers.get("host", "")):
            refusal = problem(421, "The gateway is not called by this name; see http.hosts.")
        who: Identity | None = None
        if refusal is None and _asks(call):
            shown = _shown(scope, headers)
            who = await run_in_threadpool(self._accounts.identify, shown)
            refusal = await self._refusal(call, who, shown, scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["identity"] = who
        if who is None or scope["method"] in SAFE_METHODS or not call.access.audited:
            await self._app(scope, receive, send)
        else:
            await self._audited(who, call, scope, receive, send)

    async def _refusal(
        self, call: Call, who: Identity, shown: Shown, method: str, headers: Headers
    ) -> Response | None:
        wanted = call.access.role
        if wanted is None or self._machine(call.access, shown, headers):
            return None
        if who.role is None:
            if await run_in_threadpool(self._accounts.missing):
                return problem(403, _NO_USERS)
            detail = "Sign in, or send a token that is known as `Authorization: Bearer`."
            return problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
        if not who.may(wanted):
            return problem(403, f"The role {who.role.value} may not do this, or it is not there.")
        if who.via is Via.SESSION and method not in SAFE_METHODS and not _same(who, headers):
            return problem(403, f"The header {CSRF_HEADER} lacks the value of this session.")
        return None

    def _machine(self, wanted: Access, shown: Shown, headers: Headers) -> bool:
        """True for a program that needs no token here."""
        if not wanted.machine or "cookie" in headers:
            # A browser's call counts as its user's.
            return False
        machines = self._http.machines
        return machines == "open" or (machines == "loopback" and shown.local)

    def _known_host(self, host: str) -> bool:
        """False for a name that another's name server may have made up for this address."""
        if not self._http.on_loopback and not self._hosts:
            return True
        name = _bare(host)
        return name in self._hosts or _is_loopback(name)

    async def _audited(
        self, who: Identity, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> None:
        action = f"{scope['method']} {call.template}"
        target = ", ".join(call.parameters.values()) or None
        asked = _words(scope)
        number = await run_in_threadpool(self._accounts.note, who, action, target, asked)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._complete(number, message["status"])
            await send(message)

        await self._app(scope, receive, noted)

    async def _complete(self, number: int, status: int) -> None:
        try:
            await run_in_threadpool(self._accounts.complete, number, status)
        except SQLAlchemyError:
            # What was asked for is done, and its entry stands: the answer must still go out.
            log.exception("an entry of the audit list lacks its status")


def _asks(call: Call) -> bool:
    """Whether it matters who calls."""
    return call.access.role is not None or call.template == "/api/v1/session"


def _shown(scope: Scope, headers: Headers) -> Shown:
    client = scope.get("client")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return Shown(
        address=str(client[0])[:64] if client else "",
        cookie=_cookie(headers),
        token=bearer,
        forwarded=any(name in headers for name in _FORWARDED),
    )


def _cookie(headers: Headers) -> str | None:
    for line in headers.getlist("cookie"):
        try:
            found = SimpleCookie(line).get(COOKIE)
        except CookieError:
            continue
        if found is not None:
            return found.value
    return None


def _same(who: Identity, headers: Headers) -> bool:
    given = headers.get(CSRF_HEADER.lower(), "")
    return hmac.compare_digest(given.encode(), (who.csrf or "").encode())


def _words(scope: Scope) -> Mapping[str, Any]:
    query = scope["query_string"].decode("latin-1")
    return {name: value for name, value in parse_qsl(query) if name in _WORDS}


def _bare(host: str) -> str:
    """A ``Host`` without its port and brackets, in small letters."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0].rstrip(".")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
