"""Sending a file, or the part of it that a caller asks for (RFC 9110, section 14).

The file is open already: whoever opened it has made sure that it is the right one, and nothing is
looked up by name again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from gateway.web.problems import problem

_BLOCK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_SAFE = re.compile(r"[^A-Za-z0-9._-]")
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "json": "application/json",
    "dcm": "application/dicom",
    "txt": "text/plain; charset=utf-8",
    "log": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gz": "application/gzip",
}
"""Anything else, HTML and SVG above all, is bytes to a browser."""


@dataclass(frozen=True)
class _Part:
    """Bytes ``begin`` to ``end``, which is not among them."""

    begin: int
    end: int


def answer(request: Request, file: BinaryIO, name: str) -> Response:
    """The open ``file`` as a download called ``name``: whole, or one range of it.

    Takes the file over and closes it.  416 for a range that lies outside.
    """
    status = os.fstat(file.fileno())
    tag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        file.close()
        return Response(status_code=304, headers=headers)
    part = _wanted(request, tag, status.st_size)
    if part is None:
        file.close()
        whole = {"Content-Range": f"bytes */{status.st_size}"}
        return problem(416, "The range lies outside of the file.", headers=whole)
    length = part.end - part.begin
    headers |= {
        "Content-Length": str(length),
        "Content-Disposition": disposition(name),
        # Should a browser show it all the same: in a box of its own, without scripts.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    partial = length != status.st_size
    if partial:
        headers["Content-Range"] = f"bytes {part.begin}-{part.end - 1}/{status.st_size}"
    return StreamingResponse(
        _blocks(file, part),
        status_code=206 if partial else 200,
        media_type=_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream"),
        headers=headers,
    )


def disposition(name: str) -> str:
    """``Content-Disposition`` of a download, whatever stands in its name (RFC 6266)."""
    plain = _SAFE.sub("_", name) or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _wanted(request: Request, tag: str, size: int) -> _Part | None:
    """What to send; None for a range that cannot be.  Several ranges, or odd ones: the whole."""
    whole = _Part(0, size)
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    if match is None or (condition is not None and condition != tag):
        return whole
    first, last = match.groups()
    if not first:
        if not last:
            return whole
        return _Part(max(0, size - int(last)), size) if int(last) and size else None
    begin = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < begin:
        return whole
    return _Part(begin, end) if begin < size else None


def _blocks(file: BinaryIO, part: _Part) -> Iterator[bytes]:
    with file:
        file.seek(part.begin)
        left = part.end - part.begin
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
