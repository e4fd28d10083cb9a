"""The worker of storage commitment, both ways: it asks destinations and tells modalities.

One thread works off the mailbox and looks for due work; each destination and each modality that
has some gets a thread of its own, so one that hangs holds up nobody else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Row

from gateway.config.applications import Source
from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.delivery import commitment_reports, commitment_requests, commitments
from gateway.delivery.commitment_calls import CommitmentCalls
from gateway.delivery.commitment_policy import CommitmentPolicy
from gateway.delivery.commitments import Asking
from gateway.delivery.crashes import log_crash
from gateway.delivery.rounds import Rounds
from gateway.dicom.commitment import Notice
from gateway.dicom.commitment_scu import CommitmentRefused, Committing
from gateway.dicom.errors import UnsupportedByGateway
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.notices import notice_of, report_document
from gateway.errors import GatewayError
from gateway.events.faults import point
from gateway.events.wake import Topic, Wakeups

log = logging.getLogger(__name__)

FAULT_POINTS = (
    "commitment.persisted",
    "commitment.accepted",
    "commitment.asked",
    "commitment.taken",
    "commitment.worked-off",
    "commitment.told",
)
"""Where crash tests kill the process: a transaction on disk and not sent, accepted and not noted,
noted, a notice not yet worked off, worked off and its file still there, told and not noted."""

_SWEEP_SECONDS = 3600.0


class CommitmentWorker:
    """Asks and tells; made by the composition root, run in a thread of its own.

    Call :meth:`recover` once, then :meth:`run`; :meth:`stop` from any thread.
    """

    def __init__(
        self,
        database: Database,
        wakeups: Wakeups,
        config: LiveAeConfig,
        data_dir: Path,
        *,
        calls: CommitmentCalls | None = None,
        policy: CommitmentPolicy | None = None,
    ) -> None:
        """``calls``: how peers are called; None = with the usual time limits and no TLS."""
        self._database = database
        self._wakeups = wakeups
        self._config = config
        self._data_dir = data_dir
        self._mailbox = Mailbox(data_dir)
        self._calls = calls or CommitmentCalls()
        self._policy = policy or CommitmentPolicy()
        self._rounds = Rounds(
            wakeups,
            Topic.COMMITMENTS,
            poll_seconds=self._policy.poll_seconds,
            stop_seconds=self._policy.stop_seconds,
        )
        self._awaited: set[str] = set()
        """Transactions whose associations are kept open for their reports."""
        self._sweep_at = 0.0

    def recover(self) -> None:
        """Make known again what a lost folder may have forgotten."""
        since = time.time() - self._policy.remember_seconds
        with self._database.read() as connection:
            known = commitments.transactions(connection, since)
        for transaction in known:
            if not self._mailbox.expects(transaction):
                self._mailbox.expect(transaction)

    def run(self) -> None:
        """Work until :meth:`stop`; returns when every association has ended."""
        self._rounds.run(self._look, "commitments cannot be looked after")

    def stop(self) -> None:
        """Let :meth:`run` return after the messages now on the wire."""
        self._rounds.stop()

    def _look(self) -> None:
        self._work_off()
        with self._database.read() as connection:
            asks = commitments.due_destinations(connection)
            tells = commitment_requests.due_callers(connection)
        for name in asks:
            self._begin("ask", self._ask, name)
        for name in tells:
            self._begin("tell", self._tell, name)
        self._sweep()

    def _begin(self, what: str, work: Callable[[str], None], name: str) -> None:
        guarded = partial(self._guard, work, name)
        self._rounds.begin((what, name), f"commitment-{what}-{name}", guarded)

    def _guard(self, work: Callable[[str], None], name: str) -> None:
        try:
            work(name)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: due again at the next look
            log_crash(log, "a commitment call failed", error)
            self._rounds.pause()

    def _work_off(self) -> None:
        """Take what the mailbox holds into the records, oldest first."""
        for path, document in self._mailbox.waiting():
            point("commitment.taken")
            try:
                with self._write() as connection:
                    self._take(connection, document)
            except (KeyError, TypeError, ValueError) as error:
                log_crash(log, "a commitment notice makes no sense and is set aside", error)
                self._mailbox.set_aside(path)
                continue
            point("commitment.worked-off")
            path.unlink()

    def _take(self, connection: Connection, document: dict[str, Any]) -> None:
        kind = document["kind"]
        if kind == "report":
            notice = notice_of(document)
            if not commitment_reports.report(connection, notice, self._policy):
                log.warning("report of a commitment that was forgotten")
            self._awaited.discard(notice.transaction_uid)
        elif kind == "request":
            commitment_requests.receive(connection, document)
        elif document["status"] in (0, None):
            self._note_told(connection, document)
        else:
            reason = f"the modality answered the report with status {document['status']:04X}H"
            commitment_requests.give_up(connection, document["request_id"], reason)

    @staticmethod
    def _note_told(connection: Connection, document: dict[str, Any]) -> None:
        if document["status"] == 0:
            commitment_requests.told(connection, document["request_id"], None)
            return
        reason = "the association that asked ended first, and its source has no port in ae_config"
        commitment_requests.give_up(connection, document["request_id"], reason)

    def _ask(self, name: str) -> None:
        """Ask one destination for all that is due; the body of its thread."""
        destination = self._config.current.destination(name)
        if destination is None or not destination.commitment or destination.folder is not None:
            with self._write() as connection:
                if destination is not None:
                    commitments.drop(connection, name)
                    return
                reason = f"no destination in ae_config is named {name!r}"
                later = time.time() + self._policy.backoff.cap_seconds
                commitments.postpone(connection, name, reason, later)
            return
        with self._write() as connection:
            batch = commitments.claim(connection, name, self._policy)
        if not batch:
            return
        for asking in batch:
            self._mailbox.expect(asking.request.transaction_uid)
        point("commitment.persisted")
        left = list(batch)
        mine = {asking.request.transaction_uid for asking in batch}
        self._awaited |= mine
        try:
            with self._calls.ask(destination, self._keep) as association:
                self._requests(association, left)
                association.wait(
                    self._policy.same_association_seconds,
                    lambda: self._rounds.stopping() or mine.isdisjoint(self._awaited),
                )
        except GatewayError as error:
            with self._write() as connection:
                commitments.refused(connection, left, str(error), self._policy)
        finally:
            self._awaited -= mine

    def _requests(self, association: Committing, left: list[Asking]) -> None:
        """Send the requests that are ``left``, taking off each that was answered."""
        while left and not self._rounds.stopping():
            asking = left[0]
            try:
                association.ask(asking.request)
            except CommitmentRefused as error:
                left.pop(0)
                with self._write() as connection:
                    commitments.refused(
                        connection, [asking], str(error), self._policy, answered=True
                    )
                continue
            point("commitment.accepted")
            left.pop(0)
            with self._write() as connection:
                commitments.accepted(connection, asking, self._policy)
            point("commitment.asked")
        if left:
            raise UnsupportedByGateway("the gateway was stopped")

    def _keep(self, notice: Notice) -> bool:
        """Keep a report that came over our own association; False = of an unknown transaction."""
        if not self._mailbox.expects(notice.transaction_uid):
            return False
        self._mailbox.put(report_document(notice))
        self._wakeups.notify(Topic.COMMITMENTS)
        return True

    def _tell(self, calling_ae: str) -> None:
        """Tell one modality what it is owed; the body of its thread."""
        config = self._config.current
        source = next((s for s in config.sources if s.ae_title == calling_ae), None)
        with self._database.read() as connection:
            rows = commitment_requests.due(connection, calling_ae)
        called = [application.ae_title for application in config.applications]
        for row in rows:
            if self._rounds.stopping() or not self._tell_one(row, source, called):
                return

    def _tell_one(self, row: Row[Any], source: Source | None, called: list[str]) -> bool:
        """Answer one request; False when the modality cannot be reached now."""
        with self._database.read() as connection:
            notice = commitment_requests.judge(connection, self._data_dir, row, called)
        if commitment_requests.too_early(row, notice, self._policy):
            with self._write() as connection:
                commitment_requests.put_off(connection, row, self._policy.poll_seconds)
            return True
        if source is None or source.port is None:
            self._leave(row, notice)
            return True
        try:
            self._calls.tell(row, source, notice)
        except GatewayError as error:
            with self._write() as connection:
                commitment_requests.untold(connection, row, str(error), self._policy)
            return isinstance(error, CommitmentRefused)
        point("commitment.told")
        with self._write() as connection:
            commitment_requests.told(connection, row.id, notice)
        return True

    def _leave(self, row: Row[Any], notice: Notice) -> None:
        """Leave the report for the association that asked, if it is to come over that one."""
        if row.state == "ANSWERING":
            self._mailbox.take_answer(row.id)
            reason = "the association that asked took no report"
        elif not row.answers_here:
            reason = f"the source {row.calling_ae} has no port in ae_config any more"
        else:
            with self._write() as connection:
                commitment_requests.answering(connection, row.id, notice, self._policy)
            self._mailbox.answer(row.id, report_document(notice))
            return
        with self._write() as connection:
            commitment_requests.give_up(connection, row.id, reason)

    def _sweep(self) -> None:
        """Forget transactions and requests that ended long ago."""
        if time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + _SWEEP_SECONDS
        before = time.time() - self._policy.remember_seconds
        with self._write() as connection:
            gone = commitments.forgotten(connection, before)
            commitment_requests.forget(connection, before)
        for transaction in gone:
            self._mailbox.forget(transaction)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._database.begin() as connection:
            yield connection
        self._wakeups.notify(Topic.EVENTS, Topic.RESULTS)
