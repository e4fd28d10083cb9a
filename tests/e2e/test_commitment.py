"""Storage commitment in a whole gateway: asked, killed, reported, shown; and a modality told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.dicom.commitment import Notice, Reference
from gateway.dicom.commitment_scu import Committing
from gateway.dicom.peer import Peer
from tests.support.committing import committing_pacs, report, send_report
from tests.support.dicom import slice_
from tests.support.reporting import Modality
from tests.support.site import Site, write


@pytest.mark.crash
def test_committed_across_a_kill(tmp_path: Path) -> None:
    modality = Modality()
    slices = [slice_(n) for n in range(1, 4)]
    paths = [write(ds, tmp_path / f"{n}.dcm") for n, ds in enumerate(slices)]
    with committing_pacs() as pacs, modality.listening():
        site = Site(tmp_path / "site", destinations=[pacs.destination()])
        source = {"ae-title": "CT1", "hosts": ["127.0.0.1"], "port": modality.port}
        site.configure(**{**site.config, "sources": [source]})
        site.start()
        try:
            assert all(sent.stored for sent in site.send(paths))
            references = tuple(Reference(d.SOPClassUID, d.SOPInstanceUID) for d in slices)
            peer = Peer("AI", "127.0.0.1", site.ports["dicom"], "CT1")
            with Committing(peer, lambda _notice: False) as association:
                association.ask(Notice("2.25.1", references))
            site.wait(lambda: len(modality.reports) == 1)
            site.wait(lambda: [r["commitment"] for r in site.items("results")] == ["ASKED"])
            site.kill()
            site.start()
            (asked,) = pacs.asked
            port = site.ports["dicom"]
            assert send_report(port, report("2.25.99", asked.instances)) == 0x0115
            assert send_report(port, report(asked.transaction_uid, asked.instances)) == 0
            site.wait(lambda: [r["state"] for r in site.items("results")] == ["COMMITTED"])
            _is_shown(site)
        finally:
            site.stop()
    event_type, told = modality.reports[0]
    assert (event_type, told.TransactionUID, len(told.ReferencedSOPSequence)) == (1, "2.25.1", 3)
    assert len(pacs.asked) == 1


def _is_shown(site: Site) -> None:
    (result,) = site.items("results", commitment="committed")
    described = site.cli("describe", "result", result["id"])
    assert described.returncode == 0, described.stderr
    assert "storage commitment" in described.stdout
    listed = site.cli("list", "commitments", "--json")
    (request,) = json.loads(listed.stdout)
    assert (request["state"], request["committed"], request["failed"]) == ("REPORTED", 3, 0)
    assert site.http is not None
    metrics = site.http.get("/metrics").text
    assert 'gateway_commitments{destination="PACS",state="COMMITTED"} 1.0' in metrics
    assert 'gateway_commitment_requests{state="REPORTED"} 1.0' in metrics
    kinds = [event["kind"] for event in site.items("events")]
    assert {"commitment/asked", "result/committed", "commitment/reported"} <= set(kinds)
