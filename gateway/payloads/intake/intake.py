"""The parent's side of the intake: board, applier, recovery, in one part."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.events.wake import Wakeups
from gateway.payloads.associations import Associations
from gateway.payloads.folders import Folders
from gateway.payloads.intake.applier import Applier, Tell
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.recovery import bring_in, leave_clean
from gateway.payloads.receiving import Outcome
from gateway.payloads.recovery import recover

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Intake:
    """One per data-dir; a part of the gateway with a thread of its own."""

    def __init__(
        self,
        database: Database,
        folders: Folders,
        ae_config: LiveAeConfig,
        wakeups: Wakeups,
        *,
        power: bool,
        receivers: int,
        slots: int,
    ) -> None:
        """Bring in what an earlier gateway left; Refused when a receiver of it still writes."""
        self.receivers = receivers
        self.board = Board.create(slots)
        self.associations = Associations(database, wakeups, self.board)
        self.tell: Tell = _untold
        self._database = database
        self._folders = folders
        self.applier = Applier(
            database,
            folders,
            ae_config,
            wakeups,
            self.board,
            power=power,
            tell=lambda receiver, number, outcome: self.tell(receiver, number, outcome),
        )
        bring_in(database, folders, self.applier, receivers)
        self.associations.recover()
        recover(database, folders)
        self._thread = threading.Thread(target=self.applier.run, name="applier", daemon=True)

    @property
    def alive(self) -> bool:
        """True while the applier works."""
        return self._thread.is_alive()

    @property
    def backlog(self) -> int:
        """How many records of the logs wait to be applied; any thread."""
        behind = (
            self.board.visible(receiver) - self.applier.position(receiver)
            for receiver in range(self.receivers)
        )
        return sum(max(0, count) for count in behind)

    def start(self) -> None:
        """Start the applier."""
        self._thread.start()

    def stop(self) -> None:
        """Apply what was published last, make it durable, end; the receivers have ended before."""
        self.applier.stop()
        if self._thread.is_alive():
            self._thread.join()
        self.applier.close()
        leave_clean(self._folders, self.applier, self.receivers)

    def take_over(self, receiver: int, stopping: threading.Event) -> None:
        """Bring in what a receiver left that ended by itself; returns when it may start again.

        Gives up when ``stopping``: the next start brings it in.
        """
        while not stopping.is_set():
            try:
                self.applier.drain(receiver)
                lost = self.applier.orphans(receiver)
                self.associations.abort(lost, "the receiver process ended")
            except (OSError, SQLAlchemyError) as error:
                log.warning("a receiver's log waits", extra={"error": type(error).__name__})
                stopping.wait(_RETRY_SECONDS)
            else:
                self._tidy(receiver)
                return

    def _tidy(self, receiver: int) -> None:
        self.board.clear(receiver)
        for part in self._folders.incoming.glob(f"{receiver}-*.part"):
            part.unlink(missing_ok=True)


def _untold(receiver: int, number: int, outcome: Outcome) -> None:
    """No receiver runs that could be told."""
