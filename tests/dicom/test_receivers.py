"""Several receiver processes on one port: shared limits, restarts, verdicts, configuration."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from gateway.config.live import LiveAeConfig
from gateway.config.settings import GatewaySettings
from gateway.database.engine import Database
from gateway.database.schema import associations, instances
from gateway.dicom.peer import Peer
from gateway.dicom.receiver import SharedCrowd
from gateway.dicom.receivers import Receivers
from gateway.dicom.scu import Sent, StoreScu
from gateway.errors import GatewayError
from gateway.events.wake import Wakeups
from gateway.payloads.folders import Folders
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.intake import Intake
from tests.support.databases import database_url
from tests.support.dicom import slice_
from tests.support.site import write

CONFIG: dict[str, Any] = {
    "applications": [{"ae-title": "AI", "duplicates": "reject"}],
    "sources": [{"ae-title": "CT1", "hosts": ["127.0.0.1"]}],
}


class House:
    """The receiving half of a gateway with two receivers and three slots."""

    def __init__(self, root: Path) -> None:
        self.folders = Folders(root / "data")
        self.folders.create()
        self.ae = root / "ae"
        self.ae.mkdir()
        self.write(CONFIG)
        self.database = Database(database_url(self.folders.root))
        self.database.create()
        wakeups = Wakeups()
        self.live = LiveAeConfig(self.ae, changed=lambda config: self.receivers.configure(config))
        self.intake = Intake(
            self.database, self.folders, self.live, wakeups, power=True, receivers=2, slots=3
        )
        settings = GatewaySettings.model_validate(
            {
                "data-dir": str(self.folders.root),
                "dicom": {"bind": "127.0.0.1", "port": 0, "max-associations": 3},
                "storage": {"watermark-percent": 100, "reserve-gb": 0},
            }
        )
        self.receivers = Receivers(settings, self.folders.root, self.live, self.intake)
        self.intake.start()
        self.receivers.start()

    def write(self, config: dict[str, Any]) -> None:
        (self.ae / "test.yaml").write_text(yaml.safe_dump(config))

    def send(self, *paths: Path, called: str = "AI") -> list[Sent]:
        return list(StoreScu(Peer(called, "127.0.0.1", self.receivers.port, "CT1")).send(paths))

    def rows(self, table: sa.Table) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(table)))

    def close(self) -> None:
        self.receivers.stop()
        self.intake.stop()
        self.database.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("house"))
    yield made
    made.close()


def wait(what: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def slices(folder: Path, count: int) -> list[Path]:
    return [write(slice_(n), folder / f"{n}.dcm") for n in range(count)]


def test_both_receive_and_the_limit_is_shared(house: House, tmp_path: Path) -> None:
    before = len(house.rows(instances))
    sent: list[Sent] = []
    refused: list[GatewayError] = []

    def work(number: int) -> None:
        paths = slices(tmp_path / str(number), 30)
        while paths:
            try:
                sent.extend(house.send(*paths))
            except GatewayError as error:
                refused.append(error)
                time.sleep(0.05)
            else:
                return

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    assert wait(lambda: house.receivers.active) <= 3
    for thread in threads:
        thread.join()
    assert [s.status for s in sent] == [0] * 180
    assert refused
    assert all("local limit exceeded" in str(error) for error in refused)
    wait(lambda: len(house.rows(instances)) - before == 180)
    assert all(house.intake.board.visible(n) > 0 for n in range(2)), "one received everything"
    wait(lambda: house.receivers.active == 0)


def test_a_verdict_comes_back_to_its_receiver(house: House, tmp_path: Path) -> None:
    first = slice_(1)
    other = slice_(1, SOPInstanceUID=first.SOPInstanceUID, StudyDescription="another")
    paths = [write(first, tmp_path / "a.dcm"), write(other, tmp_path / "b.dcm")]
    assert [s.status for s in house.send(*paths)] == [0, 0x0111]


def test_a_configuration_reaches_every_receiver(house: House, tmp_path: Path) -> None:
    (path,) = slices(tmp_path, 1)
    with pytest.raises(GatewayError, match="called AE title not recognized"):
        house.send(path, called="NEW")
    house.write(CONFIG | {"applications": [*CONFIG["applications"], {"ae-title": "NEW"}]})
    assert house.live.reload()
    for number in range(4):
        (path,) = slices(tmp_path / str(number), 1)
        assert [s.status for s in house.send(path, called="NEW")] == [0]


def test_a_receiver_that_dies_is_followed_by_another(house: House, tmp_path: Path) -> None:
    sent = []
    for number in range(2):
        child = house.receivers._children[number]
        assert child.process is not None
        os.kill(child.process.pid, signal.SIGKILL)
        ds = slice_(number)
        path = write(ds, tmp_path / f"{number}.dcm")
        assert [s.status for s in house.send(path)] == [0], "callers wait, nobody is refused"
        sent.append(str(ds.SOPInstanceUID))
        wait(lambda: house.receivers.alive == 2)
    wait(lambda: set(sent) <= {row.sop_instance_uid for row in house.rows(instances)})
    wait(lambda: all(row.state != "OPEN" for row in house.rows(associations)))


def test_connections_are_shared_out_evenly_and_first_to_the_first() -> None:
    board = Board.create(8)
    first, second = (SharedCrowd(board, number, 2) for number in range(2))
    taken = []
    for _ in range(5):
        (turn,) = [crowd for crowd in (first, second) if crowd.our_turn()]
        taken.append(turn)
        turn.came()
    assert taken == [first, second, first, second, first]
    first.went()
    first.went()
    assert (first.our_turn(), second.our_turn()) == (True, False)
    board.clear(1)  # it ended: its successor has none
    assert (board.crowd(0), board.crowd(1)) == (1, 0)
    board.close()
