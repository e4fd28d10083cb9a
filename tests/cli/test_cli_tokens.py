"""The command line against a gateway whose platform API wants TLS, a certificate and a token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Gateway
from tests.support.certificates import Authority
from tests.support.site import Site, application

TOKENS = {"reader-token": "reader", "operator-token": "operator"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Site]:
    own = authority.issue("gateway")
    tls = {
        "certificate": str(own.certificate),
        "key": str(own.key),
        "client-ca": str(authority.certificate),
    }
    tokens = [
        {"name": role, "sha256": hashlib.sha256(token.encode()).hexdigest(), "role": role}
        for token, role in TOKENS.items()
    ]
    made = Site(
        tmp_path_factory.mktemp("site"),
        pipelines=[],
        applications=[application()],
        settings={"grpc": {"port": 0, "tls": tls, "tokens": tokens}},
    )
    made.start()
    yield made
    made.stop()


def test_the_users_file_lets_one_in(
    site: Site, authority: Authority, gateway: Gateway, home: Path
) -> None:
    mine = authority.issue("me")
    folder = home / ".config" / "gateway"
    folder.mkdir(parents=True)
    for name, path in (("ca", authority.certificate), ("me", mine.certificate), ("key", mine.key)):
        (folder / f"{name}.pem").write_bytes(path.read_bytes())
    profile = f"""\
host: 127.0.0.1:{site.ports["grpc"]}
url: http://127.0.0.1:{site.ports["http"]}
token: operator-token
tls: {{ca: ca.pem, certificate: me.pem, key: key.pem}}
"""
    file = folder / "config.yaml"
    file.write_text(profile)
    assert gateway("create", "payload").returncode == 0

    done = gateway("create", "payload", GATEWAY_TOKEN="reader-token")  # noqa: S106
    assert done.returncode == 1
    assert "the role reader may not call Payloads/Create" in done.stderr
    done = gateway("create", "payload", GATEWAY_TOKEN="wrong")  # noqa: S106
    assert done.returncode == 1
    assert "a known bearer token is required (GATEWAY_TOKEN" in done.stderr

    # What lets one into the gateway of the file is shown to no other machine.
    done = gateway("create", "payload", "--host", f"127.0.0.2:{site.ports['grpc']}")
    assert done.returncode == 4
    assert "operator-token" not in done.stderr

    file.write_text(profile.replace("ca: ca.pem, ", ""))
    assert gateway("create", "payload").returncode == 4
    file.write_text(profile.replace("me.pem", "gone.pem"))
    done = gateway("create", "payload")
    assert done.returncode == 2
    assert f"{folder / 'gone.pem'}: No such file" in done.stderr
