"""A receiver without a wire: real database, real files, instances handed to the spool."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from gateway.config.live import LiveAeConfig
from gateway.config.settings import StorageSettings
from gateway.database.engine import Database
from gateway.database.schema import events, payloads
from gateway.events.wake import Wakeups
from gateway.payloads.actions import PayloadActions
from gateway.payloads.assembler import Assembler
from gateway.payloads.folders import Folders
from gateway.payloads.indexer import Indexer
from gateway.payloads.receiving import Arrival, Outcome
from gateway.payloads.space import Space
from tests.support.dicom import encode
from tests.support.intake import LocalIntake


def application(**changes: Any) -> dict[str, Any]:
    return {"ae-title": "AI", "complete-when": {"quiet-seconds": 5}} | changes


@dataclass
class Receiver:
    root: Path
    url: str
    config: dict[str, Any] = field(default_factory=lambda: {"applications": [application()]})

    def __post_init__(self) -> None:
        self.folders = Folders(self.root / "data")
        self.folders.create()
        self.ae_folder = self.root / "ae"
        self.ae_folder.mkdir(exist_ok=True)
        self._write()
        self.database = Database(self.url)
        self.database.create()
        self.wakeups = Wakeups()
        self.ae_config = LiveAeConfig(self.ae_folder)
        self.indexer = Indexer(self.database, self.folders, self.wakeups)
        self.space = Space(self.folders.root, StorageSettings(watermark_percent=100, reserve_gb=0))
        self.local = LocalIntake(
            self.database, self.folders, self.ae_config, self.wakeups, self.space
        )
        self.spool = self.local.spool
        self.associations = self.local.associations
        self.actions = PayloadActions(
            self.database, self.folders, self.indexer, self.ae_config, self.wakeups
        )

    def assembler(self) -> Assembler:
        return Assembler(
            self.database,
            self.folders.root,
            self.ae_config,
            self.local.intake.associations,
            self.wakeups,
            lambda ds: {"Modality": str(ds.get("Modality", ""))},
        )

    def configure(self, **changes: Any) -> None:
        self.config = {"applications": [application(**changes)]}
        self._write()
        assert self.ae_config.reload()

    def _write(self) -> None:
        (self.ae_folder / "test.yaml").write_text(yaml.safe_dump(self.config))

    def association(self) -> str:
        opened = self.associations.opened("AI", "CT1", "127.0.0.1", 4000)
        self.local.settle()
        return opened

    def store(
        self,
        ds: Dataset,
        association: str | None = None,
        called: str = "AI",
        command: dict[str, str] | None = None,
    ) -> Outcome:
        said = {
            "sop_class_uid": str(ds.get("SOPClassUID", "1.2.3")),
            "sop_instance_uid": str(ds.get("SOPInstanceUID", "1.2.4")),
        } | (command or {})
        opened = association or self.association()
        arrival = Arrival(
            association_id=opened,
            called_ae=called,
            calling_ae="CT1",
            host="127.0.0.1",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **said,
        )
        incoming = self.spool.open(arrival)
        data = encode(ds)
        incoming.write(data[:100])
        incoming.write(memoryview(data)[100:])
        outcome = incoming.commit()
        if association is None:
            self.associations.closed(opened, released=True)
        self.local.settle()
        return outcome

    def rows(self, table: sa.Table, *where: Any) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(table).where(*where)))

    def payload(self) -> Any:
        (row,) = self.rows(payloads)
        return row

    def kinds(self) -> list[str]:
        return [row.kind for row in self.rows(events)]

    def age(self, seconds: float) -> None:
        """Let the clock of every payload run: their times move into the past."""
        c = payloads.c
        with self.database.begin() as connection:
            connection.execute(
                sa.update(payloads).values(
                    opened_at=c.opened_at - seconds, last_received_at=c.last_received_at - seconds
                )
            )

    def complete(self) -> None:
        """Describe and complete what is due now."""
        assembler = self.assembler()
        while assembler._describe():
            pass
        assembler._look()

    def close(self) -> None:
        self.local.close()
        self.indexer.stop()
        self.database.close()


@pytest.fixture
def receiver(tmp_path: Path, database_url: str) -> Iterator[Receiver]:
    made = Receiver(tmp_path, database_url)
    yield made
    made.close()


def wait_for(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
