"""A whole gateway with a TLS listener: received, recorded, and called by its own command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.certificates import Authority
from tests.support.dcmtk import running_storescp, storescu
from tests.support.dicom import slice_
from tests.support.evidence import kept
from tests.support.programs import free_port
from tests.support.site import Site, deriving, write

SUBJECT = "/CN=ct1.example.org/O=Radiology"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def site(tmp_path: Path, authority: Authority) -> Iterator[Site]:
    own = authority.issue("gateway")
    pacs = {"name": "PACS", "ae-title": "PACS", "host": "127.0.0.1", "port": free_port()}
    tls = {"port": 0, "certificate": own.certificate, "key": own.key}
    tls["client-ca"] = authority.certificate
    made = Site(
        tmp_path / "site",
        settings={
            "dicom": {
                "bind": "127.0.0.1",
                "port": 0,
                "tls": {key: str(value) if key != "port" else 0 for key, value in tls.items()},
            }
        },
        destinations=[pacs | {"tls": True}],
        pipelines=[deriving()],
    )
    made.start()
    yield made
    assert made.stop() == 0


@pytest.mark.peers
def test_in_and_out_over_tls(site: Site, authority: Authority, tmp_path: Path) -> None:
    scanner, pacs = authority.issue("scanner", SUBJECT), authority.issue("pacs")
    path = write(slice_(), tmp_path / "in" / "a.dcm")
    port = site.ports["dicom_tls"]
    trust = ["+cf", str(authority.certificate)]
    destination = site.config["destinations"][0]
    server = ["+tls", str(pacs.key), str(pacs.certificate), *trust]
    with running_storescp(tmp_path, "PACS", server, destination["port"]) as scp:
        options = ["+tls", str(scanner.key), str(scanner.certificate), *trust]
        done = storescu([path], port, "AI", "CT1", options)
        assert done.returncode == 0, done.stderr
        site.wait(scp.files)
        site.wait(site.settled)
    assert len(kept(site, "AI")) == 1
    (record,) = (a for a in site.items("associations") if a["state"] == "RELEASED")
    assert record["tls"].startswith("TLSv1.3 ")
    assert record["certificate"] == "ct1.example.org, Radiology"
    assert "ct1.example.org" not in (site.root / "gateway.log").read_text()

    refused = storescu([path], port, "AI", "CT1", ["+tla", *trust])
    assert refused.returncode != 0
    (record,) = site.wait(
        lambda: [a for a in site.items("associations") if a["state"] == "REJECTED"], 10
    )
    assert "did not return a certificate" in record["reason"]

    client = tmp_path / "client.yaml"
    client.write_text(
        yaml.safe_dump(
            {
                "dicom": {
                    "tls": {
                        "certificate": str(scanner.certificate),
                        "key": str(scanner.key),
                        "destination-ca": str(authority.certificate),
                    }
                }
            }
        )
    )
    called = ("echo", f"AI@127.0.0.1:{port}", "--calling", "CT1")
    told = site.cli(*called, "--tls", "--config", str(client))
    assert told.returncode == 0, told.stderr
    assert site.cli(*called).returncode != 0
