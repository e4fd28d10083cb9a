"""The REST client of the command line."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from gateway.cli.address import Given, is_local
from gateway.cli.errors import FAILURE, NOT_FOUND, UNREACHABLE, USAGE, CliError

PAGE = 500
"""Items asked for at once."""
_NOT_FOUND = 404
_UNKNOWN = 401

Params = Mapping[str, str | int | bool | None]


class Client:
    """Speaks to one gateway; every fault becomes a :class:`CliError`."""

    def __init__(self, url: str, token: str | None = None, ca: Path | None = None) -> None:
        """``url`` is the address of its REST API; ``ca`` vouches for its certificate.

        A token is shown over TLS, and to a gateway on this machine; never in the clear elsewhere.
        """
        self.url = url
        parts = urlsplit(url)
        local = is_local(parts.hostname or "")
        shown = token is not None and (local or parts.scheme == "https")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if shown else {},
            timeout=httpx.Timeout(60, connect=5),
            # A proxy from the environment must not stand between us and our own machine.
            trust_env=not local,
            verify=_trust(ca) if parts.scheme == "https" and ca is not None else True,
        )

    @classmethod
    def of(cls, given: Given) -> Self:
        """The client of the gateway that the options, the environment or the user's file name."""
        address = given.resolve()
        return cls(address.url, address.token, address.tls.ca if address.tls else None)

    def __enter__(self) -> Self:
        """Use it for one command."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close its connections."""
        self._http.close()

    def items(self, path: str, params: Params, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` items of a list, over as many pages as that takes."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(found) < limit:
            query = {**params, "limit": min(PAGE, limit - len(found)), "cursor": cursor}
            body = self.get(path, query)
            found += body["items"]
            cursor = body.get("next")
            if cursor is None:
                break
        return found

    def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON at ``path``; parameters that are None are left out."""
        return self._call("GET", path, params).json()

    def act(self, method: str, path: str, params: Params | None = None) -> Any:
        """Do something; returns the record as it is afterwards."""
        return self._call(method, path, params).json()

    @contextmanager
    def stream(self, path: str, params: Params) -> Iterator[Iterator[bytes]]:
        """The bytes at ``path`` in pieces."""
        try:
            with self._http.stream("GET", path, params=_given(params)) as response:
                if response.is_error:
                    response.read()
                    raise _refused(response)
                yield response.iter_bytes()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, params: Params | None) -> httpx.Response:
        try:
            response = self._http.request(method, path, params=_given(params or {}))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refused(response)
        return response

    def _unreachable(self, error: httpx.HTTPError) -> CliError:
        reason = str(error) or type(error).__name__
        return CliError(f"the gateway at {self.url} cannot be reached: {reason}", UNREACHABLE)


def _trust(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError, too
        raise CliError(f"{ca}: {error.strerror or error}", USAGE) from error


def _given(params: Params) -> dict[str, str | int | bool]:
    return {name: value for name, value in params.items() if value is not None}


def _refused(response: httpx.Response) -> CliError:
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the answer was {response.status_code} {response.reason_phrase}"
    if response.status_code == _UNKNOWN:
        detail += " (GATEWAY_TOKEN, or `token` in ~/.config/gateway/config.yaml)"
    code = NOT_FOUND if response.status_code == _NOT_FOUND else FAILURE
    return CliError(detail, code)
