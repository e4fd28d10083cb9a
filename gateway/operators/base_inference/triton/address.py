"""Where the Triton server is: what the gateway says wins over what a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.operators.sdk import UsageError

GRPC = "GRPC"
HTTP = "HTTP"
VARIABLES = (
    ("NVIDIA_TRITON_GRPCURI", GRPC),
    ("NVIDIA_TRITON_HTTPURI", HTTP),
    ("CLARA_TRITON_URI", HTTP),
    ("NVIDIA_CLARA_TRTISURI", HTTP),
)
"""Variables of the gateway that name the server, the first one set counts."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server and how it is spoken to: `protocol` is GRPC or HTTP."""

    host: str
    port: int
    protocol: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def find_address(environ: Mapping[str, str], configured: Address | None = None) -> Address:
    """Return the server of the gateway's variables, else the configured one.

    Raises:
        UsageError: NO_TRITON, neither is there; BAD_TRITON_ADDRESS, no `host:port`.
    """
    for variable, protocol in VARIABLES:
        text = environ.get(variable, "").strip()
        if text:
            return _parse(text, protocol, variable)
    if configured is None:
        names = ", ".join(name for name, _ in VARIABLES)
        raise UsageError("NO_TRITON", f"no Triton server is named: set one of {names}")
    return configured


def _parse(text: str, protocol: str, variable: str) -> Address:
    bare = text.removeprefix("http://").removeprefix("grpc://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError("BAD_TRITON_ADDRESS", f"{variable} is no host:port")
    return Address(host.strip("[]"), int(port), protocol)
