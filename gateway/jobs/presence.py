"""Being one of several schedulers: a lease that says "alive", and when another one is not.

On PostgreSQL any number of schedulers work on one queue.  Each renews its lease on the database's
clock.  One that cannot renew in time stops its own attempts before anybody may take them for dead;
one whose process is gone from the same kernel is dead at once.  On SQLite the lock of the data
folder already says that there is only one.

The fencing token is the job's attempt number with its owner: what an attempt reports counts only
while the record still names both (:func:`gateway.jobs.transitions.still_mine`).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.database.engine import Database
from gateway.database.schema import jobs, new_id, schedulers
from gateway.jobs.names import first_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lease:
    """How long a scheduler counts as alive, in seconds."""

    seconds: float = 15.0
    """After the last renewal; a third of it lies between two."""
    margin: float = 30.0
    """More before others take its jobs: time in which it ends them itself."""


class Presence:
    """This scheduler among the others; :meth:`beat` in a thread of its own."""

    def __init__(self, database: Database, node: str | None = None, lease: Lease = Lease()) -> None:
        """``node`` None = this machine's host name."""
        self.id = new_id()
        self.node = node or socket.gethostname()
        self._database = database
        self._lease = lease
        self._process = process_of(os.getpid())
        self._valid_until = float("inf")
        self._ended = threading.Event()
        self.expelled = False
        """True when others took this scheduler for dead: its attempts are theirs."""

    @property
    def alone(self) -> bool:
        """True where there cannot be another scheduler."""
        return self._database.is_sqlite

    def join(self) -> None:
        """Become known, under a new id after being taken for dead; no attempt may run."""
        if self.expelled:
            self.id, self.expelled = new_id(), False
        with self._database.begin() as connection:
            connection.execute(
                sa.insert(schedulers).values(
                    id=self.id, node=self.node, process=self._process, started_at=time.time()
                )
            )
        self._renew()

    def leave(self) -> None:
        """Be forgotten: nothing of this scheduler runs any more."""
        self._ended.set()
        with self._database.begin() as connection:
            connection.execute(sa.delete(schedulers).where(schedulers.c.id == self.id))

    def valid(self) -> bool:
        """True while nobody may take this scheduler for dead."""
        return time.monotonic() < self._valid_until

    def confirmed(self, connection: Connection) -> bool:
        """True while no other has taken this scheduler for dead; nobody can until the end."""
        if self.alone:
            return True
        query = sa.select(schedulers.c.id).where(schedulers.c.id == self.id).with_for_update()
        return self.valid() and connection.execute(query).first() is not None

    def beat(self, lost: Callable[[], None]) -> None:
        """Renew until :meth:`end` or :meth:`leave`; ``lost`` is called when the lease is over."""
        while not self._ended.wait(self._lease.seconds / 3):
            try:
                self._renew()
                with self._database.begin() as connection:
                    self.tidy(connection)
            except SQLAlchemyError as error:
                log.warning("the scheduler's lease was not renewed: %s", first_line(error))
            if not self.valid():
                lost()

    def end(self) -> None:
        """Let :meth:`beat` return; the lease runs out by itself."""
        self._ended.set()

    def dead(self, connection: Connection) -> Callable[[str | None], bool]:
        """A function that tells of a scheduler's id whether it is certainly gone."""
        rows = connection.execute(
            sa.select(
                schedulers.c.id,
                schedulers.c.process,
                schedulers.c.lease_until,
                _clock(connection).label("now"),
            )
        ).all()
        known = {row.id: row for row in rows}

        def gone(owner: str | None) -> bool:
            row = known.get(owner or "")
            if owner == self.id:
                return False
            if row is None or self.alone or _ended_here(row.process):
                return True
            until = row.lease_until
            return until is not None and bool(until + self._lease.margin < row.now)

        return gone

    def others(self, connection: Connection) -> bool:
        """True when another scheduler may be alive."""
        gone = self.dead(connection)
        ids = connection.execute(sa.select(schedulers.c.id)).scalars().all()
        return any(not gone(each) for each in ids if each != self.id)

    def tidy(self, connection: Connection) -> None:
        """Remove the records of dead schedulers that own nothing any more."""
        gone = self.dead(connection)
        owns = sa.exists().where(jobs.c.owner == schedulers.c.id, jobs.c.state == "RUNNING")
        idle = connection.execute(sa.select(schedulers.c.id).where(~owns)).scalars().all()
        dead = [each for each in idle if gone(each)]
        connection.execute(sa.delete(schedulers).where(schedulers.c.id.in_(dead)))

    def _renew(self) -> None:
        if self.alone:
            return
        asked = time.monotonic()
        with self._database.begin() as connection:
            until = _clock(connection) + self._lease.seconds
            done = connection.execute(
                sa.update(schedulers).where(schedulers.c.id == self.id).values(lease_until=until)
            )
            if done.rowcount == 0:
                # Taken for dead and removed: its attempts belong to others now.
                if not self.expelled:
                    log.error("this scheduler was taken for dead")
                self.expelled, self._valid_until = True, float("-inf")
                return
        self._valid_until = asked + self._lease.seconds


def _clock(connection: Connection) -> sa.ColumnElement[float]:
    """The database's clock: those of several machines need not agree."""
    if connection.dialect.name == "sqlite":
        return sa.literal(time.time())
    seconds = sa.extract("epoch", sa.func.clock_timestamp())
    return sa.cast(seconds, sa.Double)


def process_of(pid: int) -> str:
    """A process of this kernel and pid namespace, never mistaken for a later one of its number."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    start = stat.rpartition(")")[2].split()[19]
    return f"{_kernel()} {pid} {start}"


def _kernel() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _ended_here(process: str) -> bool:
    """True when ``process`` was one of this kernel and is gone (a zombie is)."""
    kernel, pid, start = process.rsplit(" ", 2)
    if kernel != _kernel():
        return False
    try:
        fields = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return fields[19] != start or fields[0] in "ZX"


def living(connection: Connection) -> int:
    """How many schedulers are alive, by their leases; on SQLite by the last one's process."""
    s = schedulers.c
    query = sa.select(s.process, s.lease_until, _clock(connection).label("now"))
    rows = connection.execute(query.order_by(s.started_at.desc())).all()
    if connection.dialect.name == "sqlite":
        return sum(not _ended_here(row.process) for row in rows[:1])
    return sum(row.lease_until is not None and row.lease_until >= row.now for row in rows)
