"""Both ends of the DICOM wire for tests: a real SCP over a plain spool, and a byte-level peer."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from gateway.config.live import LiveAeConfig
from gateway.config.settings import DicomSettings
from gateway.database.engine import Database
from gateway.database.schema import associations
from gateway.dicom import dimse, pdu
from gateway.dicom.hosts import Hosts
from gateway.dicom.limits import Limits
from gateway.dicom.peer import Peer
from gateway.dicom.scp import StorageScp
from gateway.events.wake import Wakeups
from gateway.payloads.associations import Associations
from gateway.payloads.receiving import Arrival, Outcome, Status
from tests.support.databases import database_url

CONFIG: dict[str, Any] = {
    "applications": [{"ae-title": "AI"}, {"ae-title": "AI2"}],
    "sources": [
        {"ae-title": name, "hosts": ["127.0.0.1"]}
        for name in ("CT1", "STORESCU", "ECHOSCU", "DCMSEND", "PYNETDICOM", "ORTHANC")
    ],
    "destinations": [
        {
            "name": "PACS",
            "ae-title": "PACS",
            "host": "127.0.0.1",
            "port": 104,
            "calling-ae-title": "GATEWAY",
        }
    ],
}

FAST = Limits(artim_seconds=1.0, idle_seconds=2.0, pdu_seconds=1.0, linger_seconds=0.5)


@dataclass
class Stored:
    """One instance the spool was given."""

    arrival: Arrival
    path: Path

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


class FileSpool:
    """A spool that only writes files; ``answer`` and ``before_commit`` are for tests."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.stored: list[Stored] = []
        self.aborted: list[Arrival] = []
        self.answer = Outcome(Status.SUCCESS)
        self.before_commit: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._opened = 0

    def open(self, arrival: Arrival) -> _FileIncoming:
        with self._lock:
            self._opened += 1
            return _FileIncoming(self, arrival, self.folder / f"{self._opened}.part")


class _FileIncoming:
    def __init__(self, spool: FileSpool, arrival: Arrival, path: Path) -> None:
        self._spool, self._arrival, self._path = spool, arrival, path
        self._file = path.open("wb")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)

    def commit(self) -> Outcome:
        self._file.close()
        self._spool.before_commit()
        self._spool.stored.append(Stored(self._arrival, self._path))
        return self._spool.answer

    def abort(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
        self._spool.aborted.append(self._arrival)


@dataclass
class Station:
    """A running SCP with its records."""

    root: Path
    config: dict[str, Any] = field(default_factory=lambda: CONFIG)
    limits: Limits = FAST
    settings: dict[str, Any] = field(default_factory=dict)
    hosts: Hosts | None = None

    def __post_init__(self) -> None:
        folder = self.root / "ae"
        folder.mkdir(parents=True)
        (folder / "test.yaml").write_text(yaml.safe_dump(self.config))
        self.database = Database(database_url(self.root))
        self.database.create()
        self.ae_config = LiveAeConfig(folder)
        self.spool = FileSpool(self.root / "spool")
        self.associations = Associations(self.database, Wakeups())
        self.scp = StorageScp(
            DicomSettings.model_validate({"bind": "127.0.0.1", "port": 0} | self.settings),
            self.ae_config,
            self.spool,
            self.associations,
            limits=self.limits,
            hosts=self.hosts,
        )
        self.scp.start()

    @property
    def port(self) -> int:
        return self.scp.port

    def peer(self, called: str = "AI", calling: str = "CT1") -> Peer:
        return Peer(called, "127.0.0.1", self.port, calling)

    def records(self) -> list[Any]:
        with self.database.read() as connection:
            order = associations.c.opened_at
            return list(connection.execute(sa.select(associations).order_by(order)))

    def close(self) -> None:
        self.scp.stop(0)
        self.database.close()


def request(
    contexts: Sequence[tuple[str, Sequence[str]]] = (),
    called: str = "AI",
    calling: str = "CT1",
    **more: Any,
) -> pdu.AssociateRequest:
    """An A-ASSOCIATE-RQ; contexts get the IDs 1, 3, 5…"""
    proposed = contexts or [("1.2.840.10008.5.1.4.1.1.2", ["1.2.840.10008.1.2"])]
    return pdu.AssociateRequest(
        called,
        calling,
        tuple(pdu.ProposedContext(2 * i + 1, a, tuple(t)) for i, (a, t) in enumerate(proposed)),
        more.pop("user", pdu.UserInformation(max_pdu=16384)),
        **more,
    )


class Parrot:
    """A peer that says exactly the bytes it is told to."""

    context = 1

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> tuple[int, bytes] | None:
        """The next PDU, or None when the other end closed."""
        head = self._exactly(6)
        if head is None:
            return None
        kind, length = struct.unpack(">BxL", head)
        body = self._exactly(length)
        assert body is not None
        return kind, body

    def associate(self, wanted: pdu.AssociateRequest | None = None) -> pdu.AssociateAccept:
        self.say(pdu.encode_request(wanted or request()))
        heard = self.hear()
        assert heard is not None
        assert heard[0] == pdu.PduType.ASSOCIATE_AC, heard
        return pdu.decode_accept(memoryview(heard[1]))

    def response(self) -> dimse.Command:
        heard = self.hear()
        assert heard is not None
        assert heard[0] == pdu.PduType.P_DATA, heard
        return dimse.decode(heard[1][6:])

    def release(self) -> None:
        self.say(pdu.RELEASE_RQ)
        assert self.hear() == (pdu.PduType.RELEASE_RP, bytes(4))
        self.close()

    def close(self) -> None:
        self.sock.close()

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                assert not data, "the other end closed within a PDU"
                return None
            data += more
        return data


def pdv(context_id: int, data: bytes, *, command: bool = False, last: bool = True) -> bytes:
    """One presentation data value."""
    return struct.pack(">LBB", len(data) + 2, context_id, command | last << 1) + data


def p_data(*pdvs: bytes) -> bytes:
    """One P-DATA-TF."""
    body = b"".join(pdvs)
    return pdu.HEADER.pack(pdu.PduType.P_DATA, len(body)) + body


def store_command(
    instance: str = "1.2.3", sop_class: str = "1.2.840.10008.5.1.4.1.1.2", **more: bytes
) -> bytes:
    """A C-STORE-RQ command set; ``more``: values by element as ``e0110=…``."""
    elements = {
        0x0002: sop_class.encode(),
        0x0100: dimse.us(dimse.C_STORE_RQ),
        0x0110: dimse.us(7),
        0x0700: dimse.us(0),
        0x0800: dimse.us(0),
        0x1000: instance.encode(),
    }
    elements |= {int(key[1:], 16): value for key, value in more.items()}
    return dimse.encode({e: v for e, v in elements.items() if v != b"absent"})


@contextmanager
def parrot_server(script: Callable[[Parrot], None]) -> Iterator[int]:
    """Listen on loopback; each connection is played by ``script``; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            parrot = Parrot.__new__(Parrot)
            parrot.sock = sock
            sock.settimeout(10)
            try:
                script(parrot)
            finally:
                sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
