"""The SCP with the spool that ships: what arrives lies indexed on disk, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from gateway.config.live import LiveAeConfig
from gateway.config.settings import DicomSettings, StorageSettings
from gateway.database.engine import Database
from gateway.database.schema import associations as association_table
from gateway.dicom.files import read_instance
from gateway.dicom.peer import Peer
from gateway.dicom.scp import StorageScp
from gateway.dicom.scu import StoreScu
from gateway.events.wake import Wakeups
from gateway.payloads.folders import Folders
from gateway.payloads.space import Space
from tests.support.databases import database_url
from tests.support.dicompeer import CONFIG, Parrot, p_data, pdv, store_command
from tests.support.intake import LocalIntake
from tests.support.job_payload import write_instance


class House:
    """An SCP over the real spool."""

    def __init__(self, root: Path) -> None:
        self.folders = Folders(root / "data")
        self.folders.create()
        ae = root / "ae"
        ae.mkdir()
        (ae / "test.yaml").write_text(yaml.safe_dump(CONFIG))
        self.database = Database(database_url(self.folders.root))
        self.database.create()
        wakeups, config = Wakeups(), LiveAeConfig(ae)
        space = Space(self.folders.root, StorageSettings(watermark_percent=100, reserve_gb=0))
        self.local = LocalIntake(self.database, self.folders, config, wakeups, space)
        settings = DicomSettings(bind="127.0.0.1", port=0)
        self.scp = StorageScp(settings, config, self.local.spool, self.local.associations)
        self.scp.start()

    def close(self) -> None:
        self.scp.stop(2)
        self.local.close()
        self.database.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_instances_lie_in_the_spool_as_they_were_sent(house: House, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.dcm" for i in range(5)]
    for i, path in enumerate(paths):
        write_instance(path, number=i)
    peer = Peer("AI", "127.0.0.1", house.scp.port, "CT1")
    results = list(StoreScu(peer).send(paths))
    assert [r.status for r in results] == [0] * 5
    house.local.settle()
    kept = {read_instance(p).sop_instance_uid: p for p in house.folders.spool.rglob("*.dcm")}
    for path in paths:
        sent = read_instance(path)
        got = read_instance(kept.pop(sent.sop_instance_uid))
        assert got.path.read_bytes()[got.offset :] == path.read_bytes()[sent.offset :]
        assert got.transfer_syntax_uid == sent.transfer_syntax_uid
    assert not kept
    with house.database.read() as connection:
        (record,) = connection.execute(sa.select(association_table))
    assert (record.state, record.instances) == ("RELEASED", 5)


@pytest.mark.parametrize("data", [b"", b"garbage" * 10])
def test_what_is_no_data_set_is_answered_c000(house: House, data: bytes) -> None:
    parrot = Parrot(house.scp.port)
    parrot.associate()
    parrot.say(p_data(pdv(1, store_command(), command=True), pdv(1, data)))
    answer = parrot.response()
    assert answer.number(0x0900) == 0xC000
    assert answer.text(0x0902)
    parrot.release()
    house.local.settle()
    assert len(list(house.folders.quarantine.iterdir())) == 1
