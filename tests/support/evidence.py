"""What a gateway left on its disk, read beside it: records and spooled files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import databases
from tests.support.site import Site


@dataclass(frozen=True)
class Kept:
    """One instance as the index and the spool have it."""

    called: str
    uid: str
    sop_class: str
    syntax: str
    file: Path


def rows(site: Site, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """The answer of the gateway's own database to a query with ``:names``."""
    return databases.rows(site.data, query, **values)


def indexed(site: Site, called: str, uid: str) -> Kept:
    """An acknowledged instance, once the index has it: that follows a moment after the answer."""
    found: Kept = site.wait(lambda: kept(site, called).get(uid), 20)
    return found


def kept(site: Site, called: str) -> dict[str, Kept]:
    """Instances stored for a called AE title, by SOP Instance UID."""
    found = rows(
        site,
        "SELECT called_ae, sop_instance_uid, sop_class_uid, transfer_syntax_uid, path"
        " FROM instances WHERE called_ae = :called AND state = 'STORED'",
        called=called,
    )
    return {row[1]: Kept(*row[:4], site.data / row[4]) for row in found}
