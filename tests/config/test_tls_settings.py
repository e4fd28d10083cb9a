"""``dicom.tls``: each bad key is named with its line before anything listens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.document import ConfigError
from gateway.config.settings import load
from tests.support.certificates import Authority, Identity


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Identity:
    return authority.issue("gateway")


def faults(folder: Path, **keys: str | Path | int) -> list[str]:
    lines = "".join(f"    {key.replace('_', '-')}: {value}\n" for key, value in keys.items())
    path = folder / "gateway.yaml"
    path.write_text("dicom:\n  tls:\n" + lines)
    try:
        load(path, {})
    except ConfigError as error:
        return [str(fault).removeprefix(str(path) + ":") for fault in error.faults]
    return []


def test_good_files_pass(tmp_path: Path, authority: Authority, own: Identity) -> None:
    ca = authority.certificate
    assert not faults(tmp_path, port=2762, certificate=own.certificate, key=own.key, client_ca=ca)
    assert not faults(tmp_path, certificate=own.certificate, key=own.key, destination_ca=ca)


def test_files_are_relative_to_the_settings(tmp_path: Path, own: Identity) -> None:
    (tmp_path / "c.pem").write_bytes(own.certificate.read_bytes())
    (tmp_path / "k.pem").write_bytes(own.key.read_bytes())
    assert not faults(tmp_path, port=0, certificate="c.pem", key="k.pem")


def test_a_port_without_certificate(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, port=2762)
    assert fault == "2: dicom.tls.certificate: is required with dicom.tls.port"


def test_half_an_identity(tmp_path: Path, own: Identity) -> None:
    (fault,) = faults(tmp_path, port=2762, certificate=own.certificate)
    assert fault == "2: dicom.tls.key: is required with dicom.tls.certificate"
    (fault,) = faults(tmp_path, key=own.key)
    assert fault == "2: dicom.tls.certificate: is required with dicom.tls.key"


def test_missing_files(tmp_path: Path, own: Identity) -> None:
    (fault,) = faults(tmp_path, port=2762, certificate="none.pem", key=own.key)
    assert fault.startswith("4: dicom.tls.certificate: ")
    assert "none.pem cannot be read: No such file" in fault
    (fault,) = faults(tmp_path, client_ca="none.pem")
    assert fault.startswith("3: dicom.tls.client-ca: ")


def test_a_key_of_another_certificate(tmp_path: Path, authority: Authority, own: Identity) -> None:
    other = authority.issue("other")
    (fault,) = faults(tmp_path, port=2762, certificate=own.certificate, key=other.key)
    assert fault.startswith("5: dicom.tls.key: ")
    assert "is not the key of the certificate" in fault


def test_files_that_hold_something_else(tmp_path: Path, own: Identity) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no certificate\n")
    (fault,) = faults(tmp_path, certificate=wrong, key=own.key)
    assert fault.startswith("3: dicom.tls.certificate: ")
    (fault,) = faults(tmp_path, certificate=own.certificate, key=wrong)
    assert fault.startswith("4: dicom.tls.key: ")
    (fault,) = faults(tmp_path, destination_ca=wrong)
    assert "dicom.tls.destination-ca" in fault
    assert "holds no PEM certificate" in fault


def test_a_key_with_a_pass_phrase_asks_nobody(tmp_path: Path, own: Identity) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", own.key, "-aes256", "-passout", "pass:secret", "-out", locked],
        check=True,
        capture_output=True,
    )
    (fault,) = faults(tmp_path, certificate=own.certificate, key=locked)
    assert "without pass phrase" in fault
    assert "secret" not in fault


def test_the_environment_is_blamed_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"GATEWAY_DICOM__TLS__CLIENT_CA: .*cannot be read"):
        load(path, {"GATEWAY_DICOM__TLS__CLIENT_CA": "none.pem"})


def test_the_gateway_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("dicom:\n  tls:\n    port: 2762\n    certificate: none.pem\n    key: k.pem\n")
    gateway = Path(sys.executable).with_name("gateway")
    done = subprocess.run(
        [gateway, "serve", "--config", path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.endswith("none.pem cannot be read: No such file or directory")
    assert f"{path}:4: dicom.tls.certificate: " in line
