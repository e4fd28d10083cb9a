"""Storage commitment as SCP: modalities ask, and are told what is really stored."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
)

from gateway.config.live import LiveAeConfig
from gateway.config.tls import TlsSettings
from gateway.database.schema import commitment_requests
from tests.support.certificates import Authority, Identity
from tests.support.committing import QUICK, our_side
from tests.support.deliveries import wait_until
from tests.support.job_payload import JobPayload
from tests.support.reporting import Modality, ask, index


def config(tmp_path: Path, port: int | None, **more: Any) -> LiveAeConfig:
    folder = tmp_path / "ae"
    folder.mkdir(exist_ok=True)
    (folder / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "applications": [{"ae-title": "AI"}, {"ae-title": "OTHER"}],
                "sources": [
                    {"ae-title": "CT1", "hosts": ["127.0.0.1", "10.0.0.0/8"], "port": port} | more
                ],
            }
        )
    )
    return LiveAeConfig(folder)


def requests(house: JobPayload) -> list[Any]:
    with house.database.read() as connection:
        order = commitment_requests.c.received_at
        return list(connection.execute(sa.select(commitment_requests).order_by(order)))


def test_told_what_is_really_stored(house: JobPayload, tmp_path: Path) -> None:
    modality = Modality()
    stored, elsewhere = index(house), index(house, "OTHER")
    gone, wrong = index(house), index(house, sop_class=MRImageStorage)
    (house.data_dir / "spool" / f"{gone}.dcm").unlink()
    ct = str(CTImageStorage)
    wanted = [(ct, stored), (ct, elsewhere), (ct, gone), (ct, wrong), (ct, "1.2.3")]
    with our_side(house.database, house.data_dir, config(tmp_path, modality.port)) as ours:
        with modality.associated(ours.port) as assoc:
            transaction, status = ask(assoc, wanted)
            assert status == 0
            # Nobody listens yet: told later.
            wait_until(lambda: requests(house) and requests(house)[0].attempts > 0)
            assert "takes no connection" in requests(house)[0].reason
        with modality.listening():
            wait_until(lambda: requests(house)[0].state == "REPORTED")
            with modality.associated(ours.port) as assoc:
                good, _ = ask(assoc, [(ct, stored)])
            wait_until(lambda: len(modality.reports) == 2)
    (event_type, told), (complete, all_good) = modality.reports
    assert (event_type, told.TransactionUID) == (2, transaction)
    assert [i.ReferencedSOPInstanceUID for i in told.ReferencedSOPSequence] == [stored, elsewhere]
    reasons = {i.ReferencedSOPInstanceUID: i.FailureReason for i in told.FailedSOPSequence}
    assert reasons == {gone: 0x0112, wrong: 0x0119, "1.2.3": 0x0112}
    assert (complete, all_good.TransactionUID) == (1, good)
    assert "FailedSOPSequence" not in all_good
    row = requests(house)[0]
    assert (row.committed, row.failed, row.calling_ae) == (2, 3, "CT1")
    assert [e.kind for e in house.events("commitment/requested", "commitment/reported")] == [
        "commitment/requested", "commitment/reported",
    ] * 2  # fmt: skip


def test_what_is_asked_wrongly_is_refused(house: JobPayload, tmp_path: Path) -> None:
    modality = Modality()
    with our_side(house.database, house.data_dir, config(tmp_path, modality.port)) as ours:
        with modality.associated(ours.port) as assoc:
            one = [(str(CTImageStorage), "1.2.3")]
            assert ask(assoc, one, action=2)[1] == 0x0123
            assert ask(assoc, one, instance="1.2.3")[1] == 0x0112
            assert ask(assoc, [])[1] == 0x0115
            assert ask(assoc, one, changes={"TransactionUID": ""})[1] == 0x0115
            assert ask(assoc, [("", "1.2")])[1] == 0x0115
        assert requests(house) == []


def test_told_on_the_association_that_asked(house: JobPayload, tmp_path: Path) -> None:
    modality = Modality()
    stored = index(house)
    one = [(str(CTImageStorage), stored)]
    with our_side(house.database, house.data_dir, config(tmp_path, None)) as ours:
        with modality.associated(ours.port) as assoc:
            first, _ = ask(assoc, one)
            wait_until(lambda: len(modality.reports) == 1)
            second, _ = ask(assoc, one)
            wait_until(lambda: len(modality.reports) == 2)
            wait_until(lambda: {r.state for r in requests(house)} == {"REPORTED"})
        assert [ds.TransactionUID for _, ds in modality.reports] == [first, second]
        # It ends before there is anything to tell.
        slow = replace(QUICK, index_seconds=1.0)
    with our_side(house.database, house.data_dir, config(tmp_path, None), slow) as ours:
        with modality.associated(ours.port) as assoc:
            ask(assoc, [(str(CTImageStorage), "1.2.3")])
        wait_until(lambda: requests(house)[-1].state == "FAILED")
    assert "no port in ae_config" in requests(house)[-1].reason
    assert len(house.events("commitment/failed")) == 1
    assert list((house.data_dir / "commitments").glob("**/*.json")) == []


def test_a_modality_that_never_takes_it(house: JobPayload, tmp_path: Path) -> None:
    modality = Modality(status=0x0110)
    policy = replace(QUICK, tell_tries=3)
    settings = config(tmp_path, modality.port)
    with (
        modality.listening(),
        our_side(house.database, house.data_dir, settings, policy) as ours,
    ):
        with modality.associated(ours.port) as assoc:
            ask(assoc, [(str(CTImageStorage), index(house))])
        wait_until(lambda: {r.state for r in requests(house)} == {"FAILED"})
    assert len(modality.reports) == 3
    assert "not told after 3 tries" in requests(house)[0].reason
    assert "status 0110H" in requests(house)[0].reason


@pytest.mark.parametrize("called", ["AI", "GATEWAY"])
def test_a_destination_may_report_but_not_ask(
    house: JobPayload, tmp_path: Path, called: str
) -> None:
    settings = config(tmp_path, None)
    pacs = {"name": "P", "ae-title": "CT2", "host": "127.0.0.1", "port": 104}
    file = tmp_path / "ae" / "pacs.yaml"
    file.write_text(yaml.safe_dump({"destinations": [pacs]}))
    assert settings.reload()
    with (
        our_side(house.database, house.data_dir, settings) as ours,
        Modality("CT2").associated(ours.port, called) as assoc,
    ):
        assert ask(assoc, [(str(CTImageStorage), "1.2.3")])[1] == 0x0124


def test_told_over_mutual_tls(house: JobPayload, tmp_path: Path) -> None:
    """The modality takes nothing but TLS, from holders of the hospital's certificates."""
    hospital = Authority(tmp_path / "ca")
    own, theirs = hospital.issue("gateway"), hospital.issue("ct1")
    stranger = Authority(tmp_path / "other", "Somebody else").issue("stranger")

    def server(identity: Identity) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        context.load_verify_locations(hospital.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    tls = TlsSettings(certificate=own.certificate, key=own.key, destination_ca=hospital.certificate)
    modality = Modality()
    one = [(str(CTImageStorage), index(house))]
    settings = config(tmp_path, modality.port, tls=True)
    with our_side(house.database, house.data_dir, settings, tls=tls) as ours:
        with modality.listening(server(stranger)):
            with modality.associated(ours.port) as assoc:
                transaction, _ = ask(assoc, one)
            wait_until(lambda: "certificate" in str([r.reason for r in requests(house)]))
            assert requests(house)[0].state == "RECEIVED"
            assert modality.reports == []
        with modality.listening(server(theirs)):
            wait_until(lambda: requests(house)[0].state == "REPORTED")
    assert [(t, ds.TransactionUID) for t, ds in modality.reports] == [(1, transaction)]


@pytest.mark.parametrize("tls", [True, False])
def test_a_source_is_called_as_it_says(house: JobPayload, tmp_path: Path, tls: bool) -> None:
    """TLS to who takes none, and none to who takes TLS only: neither is told, both wait."""
    hospital = Authority(tmp_path / "ca")
    identity = hospital.issue("both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    modality = Modality()
    settings = config(tmp_path, modality.port, tls=tls)
    trust = TlsSettings(destination_ca=hospital.certificate)
    with (
        our_side(house.database, house.data_dir, settings, tls=trust) as ours,
        modality.listening(None if tls else context),
    ):
        with modality.associated(ours.port) as assoc:
            ask(assoc, [(str(CTImageStorage), index(house))])
        wait_until(lambda: requests(house) and requests(house)[0].attempts >= 1)
    assert requests(house)[0].state == "RECEIVED"
    assert modality.reports == []
