"""The worker that carries due results to their destinations.

One thread looks for due work; each destination that has some gets a thread of its own, so a slow
or hanging PACS never holds up another.  All due results of a destination go over one association,
or are shared out to as many as its configuration says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy.engine import Connection

from gateway.config.applications import AeConfig, Destination
from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.delivery import circuit, commitments, ledger
from gateway.delivery.agent import Agent, Answer, Item
from gateway.delivery.crashes import log_crash
from gateway.delivery.ledger import Batch, Trouble
from gateway.delivery.parallel import Carried, Carrier
from gateway.delivery.policy import Policy
from gateway.delivery.rounds import Rounds
from gateway.delivery.states import Circuit
from gateway.events import faults
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger(__name__)


class DeliveryWorker:
    """Carries results; made by the composition root, run in a thread of its own.

    Call :meth:`recover` once, then :meth:`run`; :meth:`stop` from any thread.
    """

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups,
        config: LiveAeConfig,
        data_dir: Path,
        *,
        dicom: Agent,
        folder: Agent,
        policy: Policy | None = None,
    ) -> None:
        self._database = database
        self._wakeups = wakeups
        self._config = config
        self._data_dir = data_dir
        self._dicom = dicom
        self._folder = folder
        self._policy = policy or Policy()
        self._rounds = Rounds(
            wakeups,
            Topic.RESULTS,
            poll_seconds=self._policy.poll_seconds,
            stop_seconds=self._policy.stop_seconds,
        )
        self._seen: AeConfig | None = None

    def recover(self) -> int:
        """Take back what a dead process was carrying; returns how many results."""
        with self._write() as connection:
            ids = ledger.recover(connection, self._policy)
            for destination in self._config.current.destinations:
                self._owe(connection, destination, ids)
        return len(ids)

    def run(self) -> None:
        """Carry results until :meth:`stop`; returns when every association has ended."""
        self._rounds.run(self._look, "delivery cannot look for work")

    def stop(self) -> None:
        """Let :meth:`run` return after the instances now on the wire."""
        self._rounds.stop()

    def _look(self) -> None:
        self._follow_config()
        with self._database.read() as connection:
            due = ledger.due_destinations(connection)
        for name in due:
            self._rounds.begin(name, f"delivery-{name}", partial(self._serve, name))

    def _follow_config(self) -> None:
        """Try a destination again at once when its configuration changed, or after a start."""
        config, before = self._config.current, self._seen
        if config is before:
            return
        old = _by_name(before) if before else {}
        fresh = {n: d for n, d in _by_name(config).items() if old.get(n) != d}
        with self._write() as connection:
            for name, destination in fresh.items():
                # What a circuit learnt before a restart still holds; a new address undoes it.
                if before is not None:
                    circuit.changed(connection, destination.name)
                ledger.wake(connection, name)
            for name in set(old) - set(_by_name(config)):
                ledger.wake(connection, name)
        self._seen = config

    def _serve(self, name: str) -> None:
        """Work off one destination; the body of its thread."""
        try:
            while not self._rounds.stopping() and self._round(name):
                pass
        except Exception as error:  # noqa: BLE001 - the thread's boundary
            log_crash(log, "delivery failed", error)
            self._give_up(name, f"internal error ({type(error).__name__}), see the log")

    def _round(self, name: str) -> bool:
        """One batch; False when nothing more can be done now."""
        destination = self._config.current.destination(name)
        if destination is None:
            trouble = Trouble(f"no destination in ae_config is named {name!r}", self._later())
            with self._write() as connection:
                ledger.postpone(connection, name, trouble)
            return False
        with self._write() as connection:
            record = circuit.admit(connection, destination.name)
            if record.state is Circuit.OPEN:
                reason = f"{destination.name} is left alone for now: {record.reason}"
                ledger.hold(connection, name, record.retry_at)
                ledger.postpone(connection, name, Trouble(reason, record.retry_at))
                return False
            batch = ledger.claim(connection, name, self._data_dir, self._policy)
        if not batch.result_ids:
            return False
        faults.point("delivery.claimed")
        # Who failed lately, or is being probed, gets one association until that one worked.
        self._carry(destination, batch, 1 if record.failures else destination.associations)
        return True

    def _carry(self, destination: Destination, batch: Batch, associations: int) -> None:
        def answered(item: Item, answer: Answer) -> None:
            faults.point("delivery.answered")
            with self._write() as connection:
                ledger.note(connection, item, answer, self._policy)
            faults.point("delivery.recorded")

        agent = self._dicom if destination.folder is None else self._folder
        carrier = Carrier(agent, destination, self._rounds.stopping)
        carried = carrier.carry(batch.items, answered, associations)
        faults.point("delivery.unsettled")
        with self._write() as connection:
            self._settle(connection, destination, batch, carried)
        faults.point("delivery.settled")

    def _settle(
        self, connection: Connection, destination: Destination, batch: Batch, carried: Carried
    ) -> None:
        fault = carried.fault
        trouble = None
        if fault is not None:
            ledger.in_flight(connection, fault.in_flight)
            trouble = Trouble(str(fault))
        worked = carried.reached or carried.positive
        if fault is not None and not worked:
            after, again = circuit.failed(connection, destination.name, str(fault), self._policy)
            trouble = Trouble(str(fault), again)
            log.warning(
                "destination failed",
                extra={"destination": destination.name, "failures": after.failures},
            )
        elif worked:
            self._reached(connection, destination)
        stopped = self._rounds.stopping() and carried.answers < len(batch.items)
        if stopped and fault is None:
            ledger.interrupt(connection, batch.result_ids, self._policy)
        else:
            ledger.settle(connection, batch.result_ids, trouble, self._policy)
        self._owe(connection, destination, batch.result_ids)

    @staticmethod
    def _owe(connection: Connection, destination: Destination, result_ids: Sequence[str]) -> None:
        """What arrived is to be committed, if the destination is to commit."""
        if destination.commitment and destination.folder is None:
            commitments.owe(connection, destination.name, result_ids)

    def _reached(self, connection: Connection, destination: Destination) -> None:
        """The destination works: what waited because it did not is due now."""
        mended = circuit.load(connection, destination.name).failures > 0
        circuit.succeeded(connection, destination.name)
        if mended:
            ledger.wake(connection, destination.name)

    def _give_up(self, name: str, reason: str) -> None:
        """After an unexpected fault: nothing of the destination may stay SENDING."""
        try:
            with self._write() as connection:
                ids = ledger.release(connection, name, Trouble(reason), self._policy)
                destination = self._config.current.destination(name)
                if destination is not None:
                    self._owe(connection, destination, ids)
        except Exception as error:  # noqa: BLE001 - the database is away: recover() does it later
            log_crash(log, "delivery cannot put results back", error)

    def _later(self) -> float:
        return time.time() + self._policy.backoff.cap_seconds

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._database.begin() as connection:
            yield connection
        self._wakeups.notify(Topic.EVENTS, Topic.COMMITMENTS)


def _by_name(config: AeConfig) -> Mapping[str, Destination]:
    return {destination.name.lower(): destination for destination in config.destinations}
