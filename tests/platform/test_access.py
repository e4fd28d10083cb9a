"""TLS and bearer tokens of the platform API, in the gateway itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.config.document import ConfigError
from gateway.config.settings import load
from gateway.platform.tokens import may
from gateway.platform.wire import common_pb2, jobs_pb2, pipelines_pb2
from tests.support.certificates import Authority

VERSION = "/nvidia.clara.platform.Clara/Version"
LIST = "/nvidia.clara.platform.Jobs/List"
START = "/nvidia.clara.platform.Jobs/Start"
CREATE = "/nvidia.clara.platform.Pipelines/Create"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def target(
    authority: Authority, fresh_site: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    own = authority.issue("gateway")
    tokens = [
        {"name": role, "sha256": hashlib.sha256(role.encode()).hexdigest(), "role": role}
        for role in ("reader", "operator", "administrator")
    ]
    tls = {
        "certificate": str(own.certificate),
        "key": str(own.key),
        "client-ca": str(authority.certificate),
    }
    settings = {"grpc": {"port": 0, "tls": tls, "tokens": tokens}}
    with fresh_site(tmp_path_factory.mktemp("access"), **settings) as site:
        yield f"localhost:{site.ports['grpc']}"


def channel(target: str, authority: Authority, *, certificate: bool = True) -> grpc.Channel:
    mine = authority.issue("caller")
    shown = (mine.key.read_bytes(), mine.certificate.read_bytes()) if certificate else (None, None)
    return grpc.secure_channel(
        target, grpc.ssl_channel_credentials(authority.certificate.read_bytes(), *shown)
    )


def outcome(target: str, authority: Authority, method: str, token: str | None) -> grpc.StatusCode:
    """The status of a call with ``token``; errors in the header count as OK."""
    given = None if token is None else [("authorization", f"Bearer {token}")]
    kinds = {LIST: "unary_stream", CREATE: "stream_unary"}
    with channel(target, authority) as opened:
        # An empty message is a message of every type.
        call = getattr(opened, kinds.get(method, "unary_unary"))(
            method,
            common_pb2.Timestamp.SerializeToString,
            common_pb2.Timestamp.FromString,
        )
        empty = common_pb2.Timestamp()
        request = iter([empty]) if method == CREATE else empty
        try:
            answer = call(request, metadata=given, timeout=20)
            if method == LIST:
                list(answer)
        except grpc.RpcError as error:
            found: grpc.StatusCode = error.code()
            return found
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        ("reader", [VERSION, LIST]),
        ("operator", [VERSION, LIST, START]),
        ("administrator", [VERSION, LIST, START, CREATE]),
    ],
)
def test_roles(target: str, authority: Authority, token: str, allowed: list[str]) -> None:
    expected = {
        method: grpc.StatusCode.OK if method in allowed else grpc.StatusCode.PERMISSION_DENIED
        for method in (VERSION, LIST, START, CREATE)
    }
    assert {m: outcome(target, authority, m, token) for m in expected} == expected


@pytest.mark.parametrize("token", [None, "", "guess", "reader "[:-2]])
@pytest.mark.parametrize("method", [VERSION, LIST, START, CREATE])
def test_without_a_token_nothing(
    target: str, authority: Authority, token: str | None, method: str
) -> None:
    assert outcome(target, authority, method, token) == grpc.StatusCode.UNAUTHENTICATED


def test_without_the_certificate_nobody_comes_in(target: str, authority: Authority) -> None:
    plain = grpc.insecure_channel(target)
    for opened in (plain, channel(target, authority, certificate=False)):
        with opened, pytest.raises(grpc.RpcError) as caught:
            opened.unary_unary(VERSION)(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_every_method_has_its_role() -> None:
    for file, service in ((jobs_pb2, "Jobs"), (pipelines_pb2, "Pipelines")):
        for method in file.DESCRIPTOR.services_by_name[service].methods:
            assert may("administrator", service, method.name)
            reads = method.name in {"List", "Status", "Details", "ReadLogs"}
            assert may("reader", service, method.name) == reads


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tls: {certificate: none.pem}", "grpc.tls.key: is required with grpc.tls.certificate"),
        ("tls: {certificate: none.pem, key: none.key}", "cannot be read"),
        ("tls: {client-ca: none.pem}", "grpc.tls.certificate: is required"),
        ("tokens: [{name: a, sha256: secret}]", "grpc.tokens[0].sha256"),
        ("tokens: [{name: a, sha256: " + "0" * 64 + ", role: king}]", "grpc.tokens[0].role"),
    ],
)
def test_bad_settings_say_so(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"grpc: {{{text}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert fault in "\n".join(map(str, caught.value.faults))
