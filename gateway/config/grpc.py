"""``grpc``: where the platform API listens and who may call it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config import tls
from gateway.config.model import Settings

Role = Literal["reader", "operator", "administrator"]


class GrpcTlsSettings(Settings):
    """TLS of the platform API; with a certificate set nothing else is spoken on its port."""

    certificate: Path | None = None
    """PEM file of the server's certificate chain; null = no TLS."""
    key: Path | None = None
    """PEM file of its private key, without pass phrase."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are asked for; null = callers need
    none."""


class TokenSettings(Settings):
    """One bearer token; only its digest is kept."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Who has it; stands in the log when a call is refused."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the token, 64 lower-case hexadecimal digits."""
    role: Role = "reader"
    """``reader`` looks, ``operator`` also makes and runs jobs and payloads, ``administrator`` may
    do everything."""


class GrpcSettings(Settings):
    """The platform API."""

    bind: str = "127.0.0.1"
    """Address the server binds."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """TCP port; 0 = any free port."""
    max_calls: Annotated[int, Field(ge=4, le=1024)] = 64
    """Calls and streams at once; one more is answered RESOURCE_EXHAUSTED."""
    stall_seconds: Annotated[float, Field(gt=0)] = 120
    """A stream on which nothing moves for this long is ended."""
    download_chunk_kb: Annotated[int, Field(ge=1, le=4000)] = 1024
    """How much of a file one message of a download carries, in KiB."""
    tls: GrpcTlsSettings = GrpcTlsSettings()
    """TLS of the server."""
    tokens: list[TokenSettings] = Field(default_factory=list)
    """Bearer tokens, one of which every call must bring as ``authorization`` metadata; empty =
    everybody who reaches the port may do everything.  They travel in the clear without TLS."""


def faults(settings: GrpcSettings) -> Iterator[tuple[str, str]]:
    """What in ``grpc.tls`` cannot be used, as key and message; reads the files it names."""
    given = settings.tls
    same = tls.TlsSettings(certificate=given.certificate, key=given.key, client_ca=given.client_ca)
    for fault in tls.faults(same):
        yield fault.key, str(fault).replace("dicom.tls", "grpc.tls")
    if given.client_ca is not None and given.certificate is None:
        yield "certificate", "is required with grpc.tls.client-ca"
