"""The intake within the test's own process: the receiver's side and the applier, no wire."""

from __future__ import annotations

import time

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from gateway.events.wake import Wakeups
from gateway.payloads.folders import Folders
from gateway.payloads.intake.associations import LoggedAssociations
from gateway.payloads.intake.intake import Intake
from gateway.payloads.intake.segments import Segments
from gateway.payloads.intake.spool import LogSpool
from gateway.payloads.intake.verdicts import Verdicts
from gateway.payloads.intake.writer import LogWriter
from gateway.payloads.space import Space


class LocalIntake:
    """One receiver's spool and associations, and the applier in a thread."""

    def __init__(
        self,
        database: Database,
        folders: Folders,
        ae_config: LiveAeConfig,
        wakeups: Wakeups,
        space: Space,
        *,
        power: bool = True,
        segment: int = 4 * 1024 * 1024,
        run: bool = True,
    ) -> None:
        self.intake = Intake(
            database, folders, ae_config, wakeups, power=power, receivers=1, slots=100
        )
        verdicts = Verdicts(20)
        self.intake.tell = lambda _receiver, number, outcome: verdicts.tell(number, outcome)
        self.intake.applier.attach(0, segment)
        self.applier = self.intake.applier
        self.writer = LogWriter(
            Segments(folders.log / "0", segment),
            self.intake.board,
            0,
            after=self.applier.position(0),
            power=power,
            wake=self.applier.wake,
            full_seconds=1,
        )
        self.associations = LoggedAssociations(self.writer, self.intake.board)
        self.spool = LogSpool(folders, self.writer, ae_config, space, verdicts, power=power)
        if run:
            self.intake.start()

    def settle(self, seconds: float = 20) -> None:
        """Wait until everything published is in the index."""
        deadline = time.monotonic() + seconds
        while self.applier.position(0) < self.intake.board.visible(0) or self.applier.busy:
            assert time.monotonic() < deadline, "the applier does not keep up"
            time.sleep(0.001)

    def close(self) -> None:
        """End as a gateway does."""
        self.intake.stop()
        self.writer.close()
        self.intake.board.close()
