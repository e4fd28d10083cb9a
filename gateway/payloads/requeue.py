"""A file that lies in the quarantine, linked into the spool to be indexed once more."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import xxhash

from gateway.database.schema import new_id
from gateway.payloads.arrived import Received
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.head import Head
from gateway.payloads.receiving import Arrival

_BLOCK = 1024 * 1024
_META_LENGTH_AT = 140
"""Offset of the value of (0002,0000), the first element our own file meta writes."""


def received_again(folders: Folders, path: Path, arrival: Arrival, head: Head) -> Received:
    """Link ``path`` into the spool durably and describe it as an arrival."""
    folder = folders.spool / time.strftime("%Y%m%d/%H", time.gmtime())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A new name: a crash before the index record leaves an orphan, never a second record's file.
    target = folder / f"{new_id()}.dcm"
    os.link(path, target)
    for parent in (folder, folder.parent, folders.spool):
        sync_folder(parent)
    size, digest = _measure(target)
    return Received(arrival, head, str(target.relative_to(folders.root)), size, digest, time.time())


def _measure(path: Path) -> tuple[int, str]:
    """Size and digest of the data set behind our own file meta."""
    digest = xxhash.xxh3_128()
    size = 0
    with path.open("rb") as file:
        file.seek(_META_LENGTH_AT)
        (meta_length,) = struct.unpack("<I", file.read(4))
        file.seek(_META_LENGTH_AT + 4 + meta_length)
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
