"""The console's built files at ``/``: whatever is asked for, only files of the build are given.

What is there is listed once, when the application is made: a name that is not in the list is the
page itself, because the console's own addresses are no files.
"""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from gateway.web import access

STATIC = Path(__file__).parent / "static"
"""Where the build lies; absent in a checkout in which nobody built it."""
NONCE = "__CSP_NONCE__"
"""What the page holds in the place of each answer's nonce."""

_INDEX = "index.html"
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_FOREVER = "public, max-age=31536000, immutable"
_TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_UNBUILT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Gateway</title><body>"
    "<h1>Gateway</h1><p>The console is not built here. In a checkout, <code>make console</code> "
    "builds it (it needs Node.js); the released package holds it.</p>"
    '<p><a href="/health">health</a> · <a href="/metrics">metrics</a> · '
    '<a href="/api/v1/docs">API</a></p></body></html>'
)


class _ConsoleRoute(Route):
    """Leaves alone what belongs to the interfaces: a wrong address there is no page."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route, but for reserved addresses."""
        if access.reserved(scope.get("path", "")):
            return Match.NONE, {}
        return super().matches(scope)


@dataclass(frozen=True)
class _File:
    """One file of the build and how it may be sent."""

    path: Path
    media_type: str
    etag: str
    encodings: Mapping[str, Path]
    """Content coding to the file that was compressed with it at build time."""


class ConsoleFiles:
    """The build as it was when the application was made; any thread."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files = dict(_files(folder))
        index = folder / _INDEX
        self._page = index.read_text("utf-8") if index.is_file() else None

    def install(self, app: FastAPI) -> None:
        """Answer ``/`` and every address that is none of the interfaces'; call it last."""
        app.router.routes.append(
            _ConsoleRoute("/{path:path}", self.answer, methods=["GET"], include_in_schema=False)
        )

    async def answer(self, request: Request) -> Response:
        """A file of the build, else the page."""
        name = request.path_params.get("path", "")
        found = self._files.get(name)
        if found is not None:
            return _sent(request, name, found)
        if name.startswith("assets/"):
            # A page of an older build asks for what is gone: it must not take HTML for a script.
            raise HTTPException(404)
        if self._page is None:
            return HTMLResponse(_UNBUILT)
        return _page(self._page)


def _files(folder: Path) -> list[tuple[str, _File]]:
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        compressed = path.suffix in {suffix for _, suffix in _ENCODINGS}
        if not path.is_file() or compressed or path.name == _INDEX:
            continue
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        beside = {
            coding: other
            for coding, suffix in _ENCODINGS
            if (other := path.with_name(path.name + suffix)).is_file()
        }
        file = _File(path, kind or "application/octet-stream", digest, beside)
        found.append((path.relative_to(folder).as_posix(), file))
    return found


def _sent(request: Request, name: str, file: _File) -> Response:
    # Vite writes a hash of the content into the names below assets.
    kept = _FOREVER if name.startswith("assets/") else "no-cache"
    headers = {"Cache-Control": kept, "Vary": "Accept-Encoding"}
    accepted = _accepted(request.headers.get("accept-encoding", ""))
    coding = next((coding for coding in file.encodings if coding in accepted), None)
    tag = f'"{file.etag}{"" if coding is None else "-" + coding}"'
    headers["ETag"] = tag
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if coding is None:
        return FileResponse(file.path, media_type=file.media_type, headers=headers)
    headers["Content-Encoding"] = coding
    return FileResponse(file.encodings[coding], media_type=file.media_type, headers=headers)


def _accepted(header: str) -> set[str]:
    """The content codings that a caller takes (RFC 9110 12.5.3)."""
    found = set()
    for part in header.split(","):
        coding, _, weight = part.partition(";")
        if weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}:
            found.add(coding.strip().lower())
    return found


def _page(text: str) -> Response:
    nonce = secrets.token_urlsafe(16)
    return HTMLResponse(
        text.replace(NONCE, nonce),
        headers={"Content-Security-Policy": _POLICY.format(nonce=nonce)},
    )
