"""Storage commitment with a real Orthanc, both ways."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydicom.uid import CTImageStorage

from gateway.config.live import LiveAeConfig
from tests.support.committing import our_side
from tests.support.deliveries import wait_until
from tests.support.job_payload import JobPayload
from tests.support.orthanc import OrthancPeer, running_orthanc
from tests.support.programs import free_port
from tests.support.reporting import index


def config(folder: Path, port: int) -> LiveAeConfig:
    folder.mkdir()
    pacs = {"name": "PACS", "ae-title": "ORTHANC", "host": "127.0.0.1", "port": port}
    settings = {
        "applications": [{"ae-title": "AI"}],
        "sources": [{"ae-title": "ORTHANC", "hosts": ["127.0.0.1"], "port": port}],
        "destinations": [pacs | {"commitment": True}],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(settings))
    return LiveAeConfig(folder)


def ask(orthanc: OrthancPeer, uids: list[str]) -> dict[str, Any]:
    """Have Orthanc ask us; its final word on the transaction."""
    instances = [{"SOPClassUID": CTImageStorage, "SOPInstanceUID": uid} for uid in uids]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{orthanc.http_port}", trust_env=False, timeout=20
    ) as http:
        made = http.post("/modalities/ai/storage-commitment", json={"DicomInstances": instances})
        made.raise_for_status()
        path = made.json()["Path"]
        deadline = time.monotonic() + 20
        while True:
            found: dict[str, Any] = http.get(path).json()
            if found["Status"] != "Pending":
                return found
            assert time.monotonic() < deadline, "Orthanc heard nothing"
            time.sleep(0.1)


@pytest.mark.peers
def test_orthanc_commits_and_is_told(house: JobPayload, tmp_path: Path) -> None:
    job = house.job()
    uids = house.write(job, 3)
    (result_id,) = house.register(job)
    listening = free_port()
    modalities = {"gateway": ("GATEWAY", listening), "ai": ("AI", listening)}
    with running_orthanc(tmp_path, modalities=modalities) as orthanc:
        live = config(tmp_path / "ae", orthanc.port)
        with our_side(house.database, house.data_dir, live, port=listening):
            wait_until(lambda: house.result(result_id).state == "COMMITTED", 30)
            assert orthanc.sop_instance_uids() == sorted(uids)
            stored = index(house)
            good = ask(orthanc, [stored])
            assert (good["Status"], len(good["Success"])) == ("Success", 1)
            bad = ask(orthanc, [stored, "1.2.3"])
    assert bad["Status"] == "Failure"
    assert [i["SOPInstanceUID"] for i in bad["Success"]] == [stored]
    (failure,) = bad["Failures"]
    assert (failure["SOPInstanceUID"], failure["FailureReason"]) == ("1.2.3", 0x0112)
