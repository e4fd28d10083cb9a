"""Bearer tokens and what the roles behind them may call.

A caller sends ``authorization: Bearer <token>`` as metadata.  Without a known token a call ends
with the gRPC status UNAUTHENTICATED, with one whose role does not reach PERMISSION_DENIED.  Health
and reflection are open to everybody.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import grpc

from gateway.config.grpc import Role, TokenSettings

log = logging.getLogger(__name__)

LONGEST = 4096
"""Longest token, in characters."""

_READS = frozenset({
    "Details", "Download", "DownloadModel", "GpuMetrics", "List", "ListCatalogs", "ListInstances",
    "ListModels", "ReadCatalog", "ReadInstance", "ReadLogs", "Status", "Utilization", "Version",
})  # fmt: skip
_WORK = frozenset({"Jobs", "Payloads"})
_PREFIX = "bearer "


def may(role: Role, service: str, method: str) -> bool:
    """True when ``role`` may call ``method`` of ``service``."""
    if role == "administrator" or method in _READS:
        return True
    return role == "operator" and service in _WORK


class Tokens:
    """The tokens of the settings; any thread."""

    def __init__(self, tokens: Sequence[TokenSettings]) -> None:
        # Looked up by digest, so that the time it takes says nothing of the token.
        self._tokens = {token.sha256: token for token in tokens}

    def check(self, context: grpc.ServicerContext, service: str, method: str) -> None:
        """Return when the caller may; else end the call with a status."""
        token = self._tokens.get(hashlib.sha256(_given(context).encode()).hexdigest())
        if token is None:
            log.warning("call without a known token", extra={"peer": context.peer()})
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a known bearer token is required")
        if not may(token.role, service, method):
            log.warning(
                "call beyond a role", extra={"token": token.name, "method": f"{service}/{method}"}
            )
            context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"the role {token.role} may not call {service}/{method}",
            )


def _given(context: grpc.ServicerContext) -> str:
    for key, value in context.invocation_metadata() or ():
        text = value if isinstance(value, str) else ""
        if key == "authorization" and text[: len(_PREFIX)].lower() == _PREFIX:
            return text[len(_PREFIX) :][:LONGEST].strip()
    return ""
