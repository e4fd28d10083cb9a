"""TLS handshakes of accepted and of opened connections (PS3.15 B.12).

The contexts come from :mod:`gateway.config.tls`.  Nothing of a certificate is kept but the
common name and organisation of its subject: the other parts of a name may hold anything.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any

from gateway.config.tls import TlsFault, TlsSettings, caller_context
from gateway.dicom.errors import (
    ConnectionLost,
    RejectedForGood,
    Unreachable,
    UnsupportedByGateway,
    WrongPort,
)
from gateway.dicom.pdu import text
from gateway.dicom.peer import Peer
from gateway.dicom.stream import PlainStream, TlsStream
from gateway.dicom.upper_layer import TLS_HANDSHAKE
from gateway.dicom.wire import Wire
from gateway.payloads.receiving import Security

_SHOWN = ("commonName", "organizationName")
_MOST_SHOWN = 255


class SecurityFailure(ConnectionLost):
    """A handshake failed; says why, without anything of the peer's certificate."""


def secure(wire: Wire, stream: PlainStream, context: ssl.SSLContext, seconds: float) -> Security:
    """Shake hands with a caller and let ``wire`` go on over TLS.

    ``seconds``: for the whole handshake.  Raises WrongPort when the peer speaks no TLS,
    in which case ``wire`` still goes to it, and SecurityFailure when the handshake fails.
    """
    try:
        first = stream.sock.recv(1, socket.MSG_PEEK)
    except OSError as error:
        raise ConnectionLost(f"the connection broke: {error.strerror or error}") from error
    if not first:
        raise ConnectionLost("the peer closed the connection")
    if first[0] != TLS_HANDSHAKE:
        raise WrongPort("the peer speaks no TLS, and this port takes nothing else")
    try:
        tls = TlsStream(stream.sock, context, server_side=True)
        wire.replace(tls)
        tls.handshake(seconds)
    except OSError as error:
        raise SecurityFailure(f"the TLS handshake failed: {reason(error)}") from error
    return described(tls.sock)


def call(peer: Peer, sock: socket.socket, settings: TlsSettings, seconds: float) -> TlsStream:
    """Shake hands with a peer that was called; closes ``sock`` when that fails.

    The files of ``settings`` are read anew, so a renewed certificate needs no restart.  Raises
    Unreachable, RejectedForGood for certificates, or UnsupportedByGateway for bad settings.
    """
    try:
        stream = TlsStream(sock, caller_context(settings), server_side=False, host=peer.host)
        sock = stream.sock
        stream.handshake(seconds)
    except TlsFault as error:
        sock.close()
        raise UnsupportedByGateway(f"{peer}: dicom.tls.{error.key} {error}") from error
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise RejectedForGood(f"{peer}: {reason(error)}") from error
    except OSError as error:
        sock.close()
        raise Unreachable(f"{peer}: the TLS handshake failed: {reason(error)}") from error
    return stream


def described(sock: ssl.SSLSocket) -> Security:
    """What the record of an association says about its protection."""
    cipher = sock.cipher()
    certificate = sock.getpeercert()
    subject: Iterable[Any] = (certificate or {}).get("subject", ())
    named = {name: value for part in subject for name, value in part}
    shown = ", ".join(text(str(named[n]).encode()) for n in _SHOWN if n in named)
    return Security(
        tls=f"{sock.version()} {cipher[0] if cipher else ''}".strip(),
        certificate=shown[:_MOST_SHOWN] if certificate else None,
    )


def reason(error: OSError) -> str:
    """Why a handshake failed, in the library's words and without a name of the peer's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "the peer closed the connection"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "unknown").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "the peer was too slow"
    return error.strerror or type(error).__name__
