"""The index built again from the spool: every file says how it arrived, and holds its head.

For a database that was lost or damaged.  Files the index knows are left as they are; every other
file of the spool, the orphans and the quarantine is indexed as if it arrived now, in the order in
which it did.  Payloads that come of it rest in UNMATCHED: nobody knows which results were
delivered before, so a person reroutes what is still to be processed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import xxhash
from sqlalchemy.engine import Connection

from gateway.config.applications import AeConfig, Application
from gateway.database.engine import Database
from gateway.database.schema import (
    associations,
    instances,
    new_id,
    payload_revisions,
    payloads,
    quarantine,
)
from gateway.events.record import Kind, record
from gateway.payloads import quarantine as aside
from gateway.payloads.arrived import Received
from gateway.payloads.associations import End, Opening, record_end, record_opening
from gateway.payloads.filemeta import NotOurs, Origin, read_origin
from gateway.payloads.folders import Folders, sync_folder
from gateway.payloads.grouping import place
from gateway.payloads.head import Unusable, agreeing, read_head
from gateway.payloads.receiving import Arrival
from gateway.payloads.states import Event, State, step

log = logging.getLogger(__name__)

REASON = "rebuilt from the spool: reroute it if it is still to be processed"
_BATCH = 100
_BLOCK = 1024 * 1024


@dataclass
class Rebuilt:
    """What a rebuild found."""

    known: int = 0
    """Files the index had already."""
    indexed: int = 0
    quarantined: int = 0
    foreign: int = 0
    """Files that do not say how they arrived; they are left where they lie."""
    payloads: int = 0
    """Payloads that now rest in UNMATCHED."""


@dataclass(frozen=True)
class _Found:
    path: Path
    origin: Origin


def rebuild(database: Database, folders: Folders, config: AeConfig) -> Rebuilt:
    """Index every file that the index does not know; no gateway may run on the data-dir.

    Raises what the disk or the database raises; what was indexed until then stays, and a second
    run goes on.
    """
    result = Rebuilt()
    found = sorted(_unknown(database, folders, result), key=lambda f: f.origin.received_at)
    opened = set(_states(database, State.RECEIVING))
    for start in range(0, len(found), _BATCH):
        with database.begin() as connection:
            for each in found[start : start + _BATCH]:
                _index(connection, folders, config, each, result)
    # Payloads that received before are completed as ever; only what is new here must rest.
    fresh = set(_states(database, State.RECEIVING)) - opened
    with database.begin() as connection:
        for payload_id in fresh:
            _rest(connection, payload_id)
    result.payloads = len(fresh)
    return result


def _unknown(database: Database, folders: Folders, result: Rebuilt) -> Iterator[_Found]:
    with database.read() as connection:
        known = set(connection.execute(sa.select(instances.c.path)).scalars())
        known |= set(connection.execute(sa.select(quarantine.c.path)).scalars())
    for path in [
        *folders.spool.glob("*/*/*.dcm"),
        *folders.quarantine.glob("*.dcm"),
        *folders.orphans.glob("*.dcm"),
    ]:
        if str(path.relative_to(folders.root)) in known:
            result.known += 1
            continue
        try:
            with path.open("rb") as file:
                yield _Found(path, read_origin(file))
        except NotOurs as error:
            result.foreign += 1
            log.warning(
                "a file is left where it lies", extra={"file": path.name, "why": str(error)}
            )


def _index(
    connection: Connection, folders: Folders, config: AeConfig, found: _Found, result: Rebuilt
) -> None:
    arrival, path = found.origin.arrival, _in_spool(folders, found)
    relative = str(path.relative_to(folders.root))
    size, digest = _measure(path, found.origin.data_offset)
    _ensure_association(connection, found.origin)
    try:
        head = agreeing(read_head(path), arrival)
    except Unusable as fault:
        aside.add(
            connection, arrival, path.stem, relative, size, str(fault), found.origin.received_at
        )
        result.quarantined += 1
        return
    received = Received(arrival, head, relative, size, digest, found.origin.received_at)
    application = config.application(arrival.called_ae) or Application(ae_title=arrival.called_ae)
    verdict = place(connection, received, application)
    if verdict.kept:
        result.indexed += 1
    elif path.parent != folders.orphans:
        # A duplicate whose removal a crash prevented; kept for a person, out of the way.
        path.rename(folders.orphans / path.name)


def _in_spool(folders: Folders, found: _Found) -> Path:
    """The file's path, an orphan's after it was moved back into the spool."""
    if found.path.parent != folders.orphans:
        return found.path
    hour = time.strftime("%Y%m%d/%H", time.gmtime(found.origin.received_at))
    folder = folders.spool / hour
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{new_id()}.dcm"
    found.path.rename(target)
    for changed in (folder, folder.parent, folders.spool, folders.orphans):
        sync_folder(changed)
    return target


def _measure(path: Path, offset: int) -> tuple[int, str]:
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _ensure_association(connection: Connection, origin: Origin) -> None:
    arrival: Arrival = origin.arrival
    known = sa.select(sa.literal(1)).where(associations.c.id == arrival.association_id)
    if connection.execute(known).first() is not None:
        return
    at = origin.received_at
    opening = Opening(
        arrival.association_id, arrival.called_ae, arrival.calling_ae, arrival.host, 0, at
    )
    record_opening(connection, opening, None)
    record_end(connection, arrival.association_id, End("ABORTED", "rebuilt from the spool", at))


def _states(database: Database, state: State) -> list[str]:
    with database.read() as connection:
        query = sa.select(payloads.c.id).where(payloads.c.state == state)
        return list(connection.execute(query).scalars())


def _rest(connection: Connection, payload_id: str) -> None:
    """Complete a payload and let it rest, unless its patients contradict each other."""
    now, c = time.time(), payloads.c
    row = connection.execute(sa.select(payloads).where(c.id == payload_id)).one()
    held = row.conflict and not row.conflict_released
    state = step(row.state, Event.COMPLETE_IN_CONFLICT if held else Event.COMPLETE)
    connection.execute(
        sa.insert(payload_revisions).values(
            payload_id=payload_id,
            revision=row.revision,
            instances=row.instances,
            opened_at=row.opened_at,
            completed_at=now,
            reason="rebuilt",
        )
    )
    values = {"state": state, "completed_at": now, "finished_at": now}
    if not held:
        values |= {"state": step(state, Event.NO_MATCH), "routed_at": now, "reason": REASON}
    connection.execute(sa.update(payloads).where(c.id == payload_id).values(**values))
    record(
        connection,
        Kind.PAYLOAD_CONFLICT if held else Kind.PAYLOAD_UNMATCHED,
        correlation_id=row.correlation_id,
        payload_id=payload_id,
        data={"state": values["state"], "reason": REASON, "revision": row.revision},
        at=now,
    )
