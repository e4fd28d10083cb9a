"""DICOM over TLS: our listener and our calls, with DCMTK at the other end, and what is refused."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.config.applications import Destination
from gateway.config.tls import CIPHERS, TlsSettings, caller_context
from gateway.dicom import pdu
from gateway.dicom.errors import RejectedForGood, Unreachable
from gateway.dicom.limits import Limits, RequestorTimeouts
from gateway.dicom.peer import Peer
from gateway.dicom.scu import StoreScu, echo
from gateway.dicom.stream import TlsStream
from tests.support.certificates import Authority, Identity
from tests.support.dcmtk import echoscu, running_storescp, storescu
from tests.support.dicompeer import Parrot, Station, p_data, pdv, request, store_command
from tests.support.instances import write
from tests.support.programs import free_port

QUICK = RequestorTimeouts(2, 2, 5, 2, 2)
SUBJECT = "/CN=ct1.example.org/O=Radiology/emailAddress=jane.doe@example.org"


@dataclass(frozen=True)
class Pki:
    """Two authorities: the hospital's, and one nobody trusts."""

    hospital: Authority
    gateway: Identity
    scanner: Identity
    stranger: Identity
    expired: Identity

    def settings(self, **more: Any) -> dict[str, Any]:
        own = {"port": 0, "certificate": self.gateway.certificate, "key": self.gateway.key}
        return {"tls": own | {"client_ca": self.hospital.certificate} | more}

    def calling(self, identity: Identity | None, **more: Any) -> TlsSettings:
        own = {"certificate": identity.certificate, "key": identity.key} if identity else {}
        return TlsSettings(**own, destination_ca=self.hospital.certificate, **more)

    def dcmtk(self, identity: Identity) -> list[str]:
        trust = ["+cf", str(self.hospital.certificate)]
        return ["+tls", str(identity.key), str(identity.certificate), *trust]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    hospital = Authority(folder / "hospital")
    return Pki(
        hospital,
        hospital.issue("gateway"),
        hospital.issue("scanner", SUBJECT),
        Authority(folder / "other", "Somebody else").issue("stranger"),
        hospital.issue("expired", days=-1),
    )


@pytest.fixture
def secured(stations: Callable[..., Station], pki: Pki) -> Station:
    return stations(settings=pki.settings())


def peer(station: Station, tls: TlsSettings | None) -> Peer:
    return Peer("AI", "127.0.0.1", station.scp.tls_port, "CT1", tls)


def last(station: Station) -> Any:
    end = time.monotonic() + 5
    while not station.records() or station.records()[-1].state == "OPEN":
        assert time.monotonic() < end
        time.sleep(0.01)
    return station.records()[-1]


@pytest.mark.peers
def test_dcmtk_sends_over_mutual_tls(secured: Station, pki: Pki, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm")
    options = pki.dcmtk(pki.scanner)
    assert echoscu(secured.scp.tls_port, "AI", options=options).returncode == 0
    done = storescu([path], secured.scp.tls_port, "AI", options=options)
    assert done.returncode == 0, done.stderr
    (stored,) = secured.spool.stored
    assert path.read_bytes().endswith(stored.data)
    assert last(secured).state == "RELEASED"
    assert last(secured).tls.startswith("TLSv1.3 TLS_")
    assert last(secured).certificate == "ct1.example.org, Radiology"


@pytest.mark.peers
@pytest.mark.parametrize(
    "profile", ["--profile-bcp195-nd", "--profile-bcp195", "--profile-bcp195-ex"]
)
def test_dcmtk_meets_us_in_every_profile_both_ways(
    secured: Station, pki: Pki, tmp_path: Path, profile: str
) -> None:
    """Its profiles propose suites with DHE beside those with ECDHE; we take the latter."""
    options = [*pki.dcmtk(pki.scanner), profile]
    assert echoscu(secured.scp.tls_port, "AI", options=options).returncode == 0
    with running_storescp(tmp_path, options=options) as scp:
        assert echo(Peer("STORESCP", "127.0.0.1", scp.port, tls=pki.calling(pki.gateway))) > 0


@pytest.mark.peers
def test_dcmtk_without_certificate_is_refused(secured: Station, pki: Pki) -> None:
    options = ["+tla", "+cf", str(pki.hospital.certificate)]
    assert echoscu(secured.scp.tls_port, "AI", options=options).returncode != 0
    assert "peer did not return a certificate" in last(secured).reason
    assert last(secured).state == "REJECTED"


@pytest.mark.peers
def test_dcmtk_receives_over_mutual_tls(pki: Pki, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm")
    with running_storescp(tmp_path, options=pki.dcmtk(pki.scanner)) as scp:
        to = Peer("STORESCP", "127.0.0.1", scp.port, "GATEWAY", pki.calling(pki.gateway))
        assert echo(to) > 0
        (sent,) = StoreScu(to).send([path])
        assert sent.stored
        assert len(scp.files()) == 1
        with pytest.raises(Unreachable):
            echo(Peer("STORESCP", "127.0.0.1", scp.port, "GATEWAY", pki.calling(None)), QUICK)
        with pytest.raises(Unreachable):
            echo(Peer("STORESCP", "127.0.0.1", scp.port), QUICK)


def test_our_own_ends_meet(secured: Station, pki: Pki, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.dcm", n) for n in range(5)]
    results = list(StoreScu(peer(secured, pki.calling(pki.scanner))).send(paths))
    assert all(sent.stored for sent in results)
    assert [len(stored.data) for stored in secured.spool.stored]
    plain = list(StoreScu(secured.peer()).send(paths[:1]))
    assert plain[0].stored
    assert last(secured).tls is None


def test_large_instances_cross_many_records(secured: Station, pki: Pki) -> None:
    data = bytes(range(256)) * 20_000
    tls = caller_context(pki.calling(pki.scanner))
    parrot = Parrot(secured.scp.tls_port)
    parrot.sock = tls.wrap_socket(parrot.sock)
    parrot.associate()
    parrot.say(p_data(pdv(1, store_command(), command=True)))
    for at in range(0, len(data), 100_000):
        piece = data[at : at + 100_000]
        parrot.say(p_data(pdv(1, piece, last=at + 100_000 >= len(data))))
    assert parrot.response().number(0x0900) == 0
    parrot.release()
    assert secured.spool.stored[0].data == data


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("stranger", "the peer's certificate is not accepted: unable to get local issuer"),
        ("expired", "the peer's certificate is not accepted: certificate has expired"),
        (None, "peer did not return a certificate"),
    ],
)
def test_a_wrong_certificate_of_a_caller(
    secured: Station, pki: Pki, who: str | None, reason: str
) -> None:
    identity = getattr(pki, who) if who else None
    with pytest.raises(Unreachable):
        echo(peer(secured, pki.calling(identity)), QUICK)
    record = last(secured)
    assert record.state == "REJECTED"
    assert reason in record.reason
    assert (record.called_ae, record.calling_ae, record.host) == ("", "", "127.0.0.1")
    echo(peer(secured, pki.calling(pki.scanner)), QUICK)


@contextmanager
def tls_server(identity: Identity) -> Iterator[int]:
    """Shakes hands with ``identity`` and closes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(5)
            try:
                with context.wrap_socket(sock, server_side=True) as tls:
                    tls.recv(1000)
            except OSError:
                sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("who", ["stranger", "expired"])
def test_a_wrong_certificate_of_a_destination(pki: Pki, who: str) -> None:
    with tls_server(getattr(pki, who)) as port:
        began = time.monotonic()
        with pytest.raises(RejectedForGood, match="certificate is not accepted"):
            echo(Peer("PACS", "127.0.0.1", port, tls=pki.calling(None)), QUICK)
        assert time.monotonic() - began < 2


def test_the_host_of_a_destination_is_verified_on_demand(pki: Pki) -> None:
    elsewhere = pki.hospital.issue("elsewhere", names="DNS:pacs.example.org")
    with tls_server(elsewhere) as port:
        to = Peer("PACS", "127.0.0.1", port, tls=pki.calling(None, verify_host=True))
        with pytest.raises(RejectedForGood, match="IP address mismatch"):
            echo(to, QUICK)
        with pytest.raises(Unreachable, match="gave no association"):
            echo(Peer("PACS", "127.0.0.1", port, tls=pki.calling(None)), QUICK)


def test_the_systems_authorities_vouch_for_named_hosts_only(pki: Pki) -> None:
    context = caller_context(TlsSettings())
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not caller_context(pki.calling(None)).check_hostname
    assert caller_context(pki.calling(None)).verify_mode is ssl.CERT_REQUIRED


def test_a_plain_peer_on_the_tls_port(secured: Station) -> None:
    parrot = Parrot(secured.scp.tls_port)
    parrot.say(pdu.encode_request(request()))
    assert parrot.hear() == (pdu.PduType.ABORT, bytes(4))
    assert parrot.hear() is None
    parrot.close()
    assert last(secured).state == "REJECTED"
    assert "speaks no TLS" in last(secured).reason


def test_a_tls_peer_on_the_plain_port(secured: Station, pki: Pki) -> None:
    with pytest.raises(Unreachable, match="TLS handshake failed"):
        echo(Peer("AI", "127.0.0.1", secured.port, "CT1", pki.calling(pki.scanner)), QUICK)
    assert last(secured).state == "REJECTED"
    assert "speaks TLS, and this port takes none" in last(secured).reason


@pytest.mark.parametrize("said", [b"\x16", b"\x16\x03\x01\x02\x00\x01", b""])
def test_half_a_handshake_ends_by_artim(
    stations: Callable[..., Station], pki: Pki, said: bytes
) -> None:
    limits = Limits(artim_seconds=0.5, linger_seconds=0.2)
    station = stations(settings=pki.settings(), limits=limits)
    stuck = [Parrot(station.scp.tls_port) for _ in range(20)]
    for parrot in stuck:
        parrot.say(said)
    echo(peer(station, pki.calling(pki.scanner)), QUICK)
    began = time.monotonic()
    for parrot in stuck:
        assert parrot.sock.recv(100) == b""
        parrot.close()
    assert time.monotonic() - began < 3


def test_a_handshake_that_stalls_ends_by_artim(stations: Callable[..., Station], pki: Pki) -> None:
    limits = Limits(artim_seconds=0.5, linger_seconds=0.2)
    station = stations(settings=pki.settings(), limits=limits)
    outgoing = ssl.MemoryBIO()
    client = caller_context(pki.calling(pki.scanner)).wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    parrot = Parrot(station.scp.tls_port)
    began = time.monotonic()
    parrot.say(outgoing.read())
    while parrot.sock.recv(1 << 16):
        pass
    assert time.monotonic() - began < 3
    assert "the peer was too slow" in last(station).reason
    parrot.close()


def test_garbage_in_a_session_ends_it(secured: Station, pki: Pki) -> None:
    parrot = Parrot(secured.scp.tls_port)
    raw = parrot.sock
    parrot.sock = caller_context(pki.calling(pki.scanner)).wrap_socket(raw)
    parrot.associate()
    socket.socket.sendall(parrot.sock, b"\x17\x03\x03\x00\x20" + bytes(32))
    assert last(secured).state == "ABORTED"
    assert "connection broke" in last(secured).reason
    parrot.close()


def test_a_silent_session_ends_by_its_time_and_hears_why(
    stations: Callable[..., Station], pki: Pki
) -> None:
    limits = Limits(idle_seconds=0.4, linger_seconds=0.2)
    station = stations(settings=pki.settings(), limits=limits)
    parrot = Parrot(station.scp.tls_port)
    parrot.sock = caller_context(pki.calling(pki.scanner)).wrap_socket(parrot.sock)
    parrot.associate()
    assert parrot.hear() == (pdu.PduType.ABORT, bytes(4))
    assert parrot.hear() is None
    parrot.close()


def test_stopping_ends_sessions(stations: Callable[..., Station], pki: Pki) -> None:
    station = stations(settings=pki.settings())
    parrot = Parrot(station.scp.tls_port)
    parrot.sock = caller_context(pki.calling(pki.scanner)).wrap_socket(parrot.sock)
    parrot.associate()
    began = time.monotonic()
    station.scp.stop(0)
    assert time.monotonic() - began < 3
    assert parrot.hear() == (pdu.PduType.ABORT, bytes(4))
    parrot.close()


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256"),
    ],
    ids=["TLS 1.1", "no forward secrecy", "no authenticated encryption", "finite fields"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_what_the_profile_forbids_is_refused(
    secured: Station, pki: Pki, version: ssl.TLSVersion, ciphers: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pki.hospital.certificate)
    context.load_cert_chain(pki.scanner.certificate, pki.scanner.key)
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    with Parrot(secured.scp.tls_port).sock as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock)
    assert last(secured).state == "REJECTED"


def test_tls_1_2_with_a_good_suite_is_taken(secured: Station, pki: Pki) -> None:
    context = caller_context(pki.calling(pki.scanner))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    parrot = Parrot(secured.scp.tls_port)
    parrot.sock = context.wrap_socket(parrot.sock)
    parrot.associate()
    parrot.release()
    assert last(secured).tls.startswith("TLSv1.2 ECDHE-")
    suites = {c["name"] for c in context.get_ciphers() if c["protocol"] == "TLSv1.2"}
    assert all(s.startswith("ECDHE-") and ("GCM" in s or "POLY1305" in s) for s in suites), CIPHERS


def test_without_client_ca_callers_need_no_certificate(
    stations: Callable[..., Station], pki: Pki
) -> None:
    station = stations(settings=pki.settings(client_ca=None))
    echo(peer(station, pki.calling(None)))
    assert last(station).certificate is None
    assert last(station).tls


def test_a_tls_port_that_is_taken_leaves_nothing_listening(tmp_path: Path, pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plain = free_port()
        with pytest.raises(OSError, match="in use"):
            Station(tmp_path / "s", settings=pki.settings(port=port) | {"port": plain})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", plain), 1)


def test_a_destination_uses_the_gateways_own_certificate(secured: Station, pki: Pki) -> None:
    own = TlsSettings(
        certificate=pki.gateway.certificate,
        key=pki.gateway.key,
        client_ca=pki.hospital.certificate,
    )
    destination = Destination.model_validate(
        {"name": "PACS", "ae-title": "AI", "host": "127.0.0.1", "port": secured.scp.tls_port,
         "calling-ae-title": "CT1", "tls": True}
    )  # fmt: skip
    echo(Peer.of(destination, own))
    assert last(secured).certificate == "gateway"
    plain = destination.model_copy(update={"tls": False})
    assert Peer.of(plain, own).tls is None


def test_stalled_handshakes_keep_no_modality_out(
    stations: Callable[..., Station], pki: Pki
) -> None:
    station = stations(settings=pki.settings() | {"max_associations": 1}, limits=Limits())
    outgoing = ssl.MemoryBIO()
    client = caller_context(pki.calling(pki.scanner)).wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    stalled = [Parrot(station.scp.tls_port) for _ in range(50)]
    for parrot in stalled:
        parrot.say(hello)
    end = time.monotonic() + 5
    while len(station.scp._threads) < 33 and time.monotonic() < end:
        time.sleep(0.01)
    began = time.monotonic()
    for tls in (None, pki.calling(pki.scanner)):
        to = station.peer() if tls is None else peer(station, tls)
        echo(to, RequestorTimeouts(5, 5, 5, 5, 5))
    assert time.monotonic() - began < 5
    for parrot in stalled:
        parrot.close()


def test_a_peer_that_resets_before_the_handshake_leaves_no_descriptor() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(20):
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
            # Lingering for no time at all: closing is a reset (RST), not an orderly end.
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            theirs.close()
            descriptor = ours.fileno()
            try:
                stream = TlsStream(ours, context, server_side=False)
            except OSError:
                ours.close()
            else:
                stream.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
