"""kill -9 at every fault point of storage commitment: nothing owed is forgotten, both ways."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from gateway.database.schema import commitment_requests, new_id, results
from gateway.delivery.commitment_worker import FAULT_POINTS
from gateway.dicom.commitment import Notice, Reference
from gateway.dicom.commitment_scu import Committing, tell
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.notices import FAULT_POINTS as NOTICE_POINTS
from gateway.dicom.peer import Peer
from gateway.errors import GatewayError
from tests.support.committing import Asked, CommittingPacs, committing_pacs
from tests.support.deliveries import program
from tests.support.job_payload import JobPayload
from tests.support.programs import free_port
from tests.support.reporting import Modality

CT = "1.2.840.10008.5.1.4.1.1.2"
QUICK = RequestorTimeouts(connect_seconds=1, associate_seconds=2, response_seconds=2)


class World:
    """What others do meanwhile: the PACS reports and the modality asks until they are heard."""

    def __init__(self, port: int, pacs: CommittingPacs) -> None:
        self.port = port
        self.pacs = pacs
        self.heard: set[str] = set()
        self.asked = ""

    def turn(self) -> None:
        """One try of everything that is not done."""
        for asked in list(self.pacs.asked):
            known = asked.transaction_uid in self.heard
            if not known and self._did(lambda a=asked: self._report(a)):
                self.heard.add(asked.transaction_uid)
        if not self.asked:
            transaction = f"2.25.{int(new_id(), 16)}"
            if self._did(lambda: self._ask(transaction)):
                self.asked = transaction
        time.sleep(0.05)

    def _report(self, asked: Asked) -> None:
        references = tuple(Reference(CT, uid) for uid in asked.instances)
        peer = Peer("GATEWAY", "127.0.0.1", self.port, "PACS")
        tell(peer, Notice(asked.transaction_uid, references), QUICK)

    def _ask(self, transaction: str) -> None:
        peer = Peer("AI", "127.0.0.1", self.port, "CT1")
        with Committing(peer, lambda _notice: False, QUICK) as association:
            association.ask(Notice(transaction, (Reference(CT, "1.2.3"),)))

    @staticmethod
    def _did(what: Callable[[], None]) -> bool:
        try:
            what()
        except GatewayError:
            return False
        return True


def running(
    data_dir: Path, ae: Path, port: int, fault: str = ""
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return program("commitment_process.py", data_dir, ae, port, fault=fault)


def settled(house: JobPayload, world: World) -> bool:
    with house.database.read() as connection:
        states = set(connection.execute(sa.select(results.c.state)).scalars())
        told = connection.execute(
            sa.select(commitment_requests.c.state).where(
                commitment_requests.c.transaction_uid == world.asked
            )
        ).scalar()
    waiting = list((house.data_dir / "commitments").glob("*.json"))
    return states == {"COMMITTED"} and told == "REPORTED" and not waiting


@pytest.mark.crash
@pytest.mark.parametrize("fault", [*FAULT_POINTS, *NOTICE_POINTS])
def test_killed_at_a_fault_point(house: JobPayload, tmp_path: Path, fault: str) -> None:
    for _ in range(2):
        job = house.job()
        house.write(job, 2)
        house.register(job)
    modality, port = Modality(), free_port()
    with committing_pacs() as pacs, modality.listening():
        ae = tmp_path / "ae"
        ae.mkdir()
        source = {"ae-title": "CT1", "hosts": ["127.0.0.1"], "port": modality.port}
        settings = {
            "applications": [{"ae-title": "AI"}],
            "sources": [source],
            "destinations": [pacs.destination()],
        }
        (ae / "test.yaml").write_text(yaml.safe_dump(settings))
        world = World(port, pacs)
        deadline = time.monotonic() + 40
        with running(house.data_dir, ae, port, fault) as process:
            while process.poll() is None:
                assert time.monotonic() < deadline, "the fault point was not passed"
                world.turn()
        assert process.returncode == -signal.SIGKILL
        with running(house.data_dir, ae, port):
            while not settled(house, world):
                assert time.monotonic() < deadline, "it did not settle"
                world.turn()
    assert world.asked in {ds.TransactionUID for _, ds in modality.reports}
    assert len(house.events("result/committed")) == 2
    # Only what was on the wire at the moment of death can be there twice.
    assert len(pacs.stored) <= len(set(pacs.stored)) + 1
