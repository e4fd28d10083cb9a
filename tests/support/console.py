"""People and scripts before a served application: users, sessions, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx

from gateway.config.http import HttpSettings
from gateway.web.accounts.accounts import Accounts
from gateway.web.accounts.roles import Role
from gateway.web.application import create_app
from gateway.web.server import HttpServer
from gateway.web.services import Services

PASSWORD = "correct horse battery"  # noqa: S105


@dataclass
class House:
    """A served application."""

    url: str
    services: Services
    accounts: Accounts

    @contextmanager
    def caller(self, **headers: str) -> Iterator[httpx.Client]:
        """Somebody with nothing but these headers (``_`` for ``-``)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx.Client(base_url=self.url, headers=named, trust_env=False, timeout=60) as client:
            yield client

    def user(self, name: str, role: Role = Role.ADMINISTRATOR, password: str = PASSWORD) -> None:
        self.accounts.create_user(name, role, password)

    def token(self, role: Role, name: str = "script") -> str:
        return self.accounts.create_token(name, role, None, None)[1]

    @contextmanager
    def script(self, role: Role, name: str = "script") -> Iterator[httpx.Client]:
        """Somebody with a token of that role."""
        with self.caller(Authorization=f"Bearer {self.token(role, name)}") as client:
            yield client

    @contextmanager
    def person(self, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
        """Somebody who signed in; the CSRF token is among the headers."""
        with self.caller() as client:
            answer = sign_in(client, name, password)
            answer.raise_for_status()
            client.headers["X-CSRF-Token"] = answer.json()["csrf"]
            yield client


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/api/v1/session", json={"user": name, "password": password})


@contextmanager
def house(services: Services, http: HttpSettings | None = None) -> Iterator[House]:
    """Serve ``services`` on loopback, whatever ``http`` says of the address."""
    given = replace(services, http=http or HttpSettings())
    server = HttpServer(create_app(given), "127.0.0.1", 0, given.http)
    server.start()
    scheme = "https" if given.http.tls.certificate else "http"
    try:
        yield House(
            f"{scheme}://127.0.0.1:{server.port}", given, Accounts(given.database, given.http)
        )
    finally:
        server.stop()
