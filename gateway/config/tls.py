"""``dicom.tls``: certificates for DICOM over TLS, checked when the settings are read.

Profile: BCP 195 (RFC 8996, RFC 9325) as PS3.15 B.12 asks: TLS 1.2 or later, only cipher suites with
forward secrecy and authenticated encryption, no compression, no renegotiation.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.config.model import Settings
from gateway.errors import Permanent

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites; those of TLS 1.3 are all of this kind.  None with DHE: RFC 9325 4.1."""


class TlsSettings(Settings):
    """The second, TLS-only DICOM listener, and TLS to destinations and sources."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """TCP port; null = no TLS listener, 0 = any free port."""
    certificate: Path | None = None
    """PEM file of the gateway's certificate chain; also shown to destinations that ask for one."""
    key: Path | None = None
    """PEM file of its private key, without pass phrase."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are accepted; null = callers need
    none.  Destinations with ``tls: true`` are trusted by it too."""
    destination_ca: Path | None = None
    """PEM file of the authorities destinations, and sources with ``tls: true``, are trusted by;
    null = ``client-ca``, without that the system's."""
    verify_host: bool | None = None
    """Whether a destination's certificate must name its host; null = only when the system's
    authorities, which vouch for anybody, are the trust."""


class TlsFault(Permanent):
    """One key of ``dicom.tls`` that cannot be used."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def listener_context(tls: TlsSettings) -> ssl.SSLContext:
    """What the listener shakes hands with; mutual when ``client-ca`` is set.

    Raises :class:`TlsFault`.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    if tls.certificate is None:
        raise TlsFault("certificate", "is required with dicom.tls.port")
    _own_certificate(context, tls)
    if tls.client_ca is not None:
        _trust(context, "client-ca", tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def caller_context(tls: TlsSettings) -> ssl.SSLContext:
    """What destinations are called with; raises :class:`TlsFault`."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    system = tls.destination_ca is None and tls.client_ca is None
    context.check_hostname = system if tls.verify_host is None else tls.verify_host
    if tls.certificate is not None:
        _own_certificate(context, tls)
    if tls.destination_ca is not None:
        _trust(context, "destination-ca", tls.destination_ca)
    elif tls.client_ca is not None:
        _trust(context, "client-ca", tls.client_ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def faults(tls: TlsSettings) -> Iterator[TlsFault]:
    """What in ``tls`` cannot be used; reads the files it names."""
    if tls.port is not None and tls.certificate is None:
        yield TlsFault("certificate", "is required with dicom.tls.port")
    elif tls.certificate is not None or tls.key is not None:
        try:
            _own_certificate(_context(ssl.PROTOCOL_TLS_SERVER), tls)
        except TlsFault as fault:
            yield fault
    for key, path in (("client-ca", tls.client_ca), ("destination-ca", tls.destination_ca)):
        if path is None:
            continue
        try:
            _trust(_context(ssl.PROTOCOL_TLS_SERVER), key, path)
        except TlsFault as fault:
            yield fault


def _context(role: int) -> ssl.SSLContext:
    context = ssl.SSLContext(role)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if role == ssl.PROTOCOL_TLS_SERVER:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _own_certificate(context: ssl.SSLContext, tls: TlsSettings) -> None:
    if tls.certificate is None:
        raise TlsFault("certificate", "is required with dicom.tls.key")
    if tls.key is None:
        raise TlsFault("key", "is required with dicom.tls.certificate")
    _readable("certificate", tls.certificate)
    _readable("key", tls.key)
    try:
        # A password, though empty: without one the library asks on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(tls.certificate, tls.key, error) from error


def _unusable(certificate: Path, key: Path, error: Exception) -> TlsFault:
    reason = getattr(error, "reason", None) or "it needs a pass phrase"
    if reason == "KEY_VALUES_MISMATCH":
        return TlsFault("key", f"{key} is not the key of the certificate {certificate}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError:
        return TlsFault("certificate", f"{certificate} holds no PEM certificate")
    if "KEY_TOO_SMALL" in reason or "MD_TOO_WEAK" in reason:
        return TlsFault("certificate", f"{certificate} is too weak: {reason}")
    return TlsFault("key", f"{key} holds no usable PEM private key without pass phrase ({reason})")


def _trust(context: ssl.SSLContext, key: str, path: Path) -> None:
    _readable(key, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsFault(key, f"{path} holds no PEM certificate") from error


def _readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise TlsFault(key, f"{path} cannot be read: {error.strerror}") from error
