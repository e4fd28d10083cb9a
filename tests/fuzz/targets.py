"""What is fuzzed: everything that reads bytes of strangers, each with what it may raise.

Run as ``python -m tests.fuzz.targets TARGET [libFuzzer options]``; see ``test_fuzz.py``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from gateway.config.applications import AeConfig, AeFile
    from gateway.config.document import ConfigError, parse, validate
    from gateway.config.settings import GatewaySettings
    from gateway.dicom import dimse, pdu
    from gateway.dicom.acceptor import Acceptor, Services
    from gateway.dicom.errors import NotDicom, ProtocolViolation
    from gateway.dicom.files import read_instance, sop_uids
    from gateway.dicom.flood import RejectionBudget
    from gateway.dicom.hosts import Hosts
    from gateway.dicom.limits import Limits
    from gateway.dicom.scp import AssociationSlots
    from gateway.payloads.head import Unusable, read_head
    from gateway.payloads.lean import lean_head
    from gateway.payloads.receiving import Arrival, Outcome, Status

from tests.support.dicom import encode, slice_
from tests.support.dicompeer import CONFIG, p_data, pdv, request, store_command
from tests.support.instances import file_meta

EXPLICIT = "1.2.840.10008.1.2.1"
SYNTAXES = ("1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
CT = "1.2.840.10008.5.1.4.1.1.2"


class Faults(logging.Handler):
    """Makes a logged fault of the gateway one of the fuzzer's: it must not end in a log line."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


class Books:
    """Records of associations and a spool in memory, and what must hold of them at the end."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.writing = 0
        self.count = 0

    def opened(self, *_: object) -> str:
        self.count += 1
        self.open.add(str(self.count))
        return str(self.count)

    def rejected(self, *_: object) -> str:
        return "rejected"

    def touch(self, association_id: str) -> None:
        assert association_id in self.open

    def closed(self, association_id: str, **_: object) -> None:
        self.open.remove(association_id)

    def open_instance(self, arrival: Arrival) -> Instance:
        self.writing += 1
        return Instance(self)


class Instance:
    def __init__(self, books: Books) -> None:
        self._books = books

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert len(data) > 0

    def commit(self) -> Outcome:
        self._books.writing -= 1
        return Outcome(Status.SUCCESS)

    def abort(self) -> None:
        self._books.writing -= 1


class Spool:
    def __init__(self, books: Books) -> None:
        self.open = books.open_instance


class Acceptors:
    """The whole accepted connection, fed with one peer's bytes."""

    def __init__(self) -> None:
        self.faults = Faults()
        logging.getLogger().addHandler(self.faults)
        logging.getLogger("gateway").propagate = True
        logging.getLogger().setLevel(logging.ERROR)
        self.config = AeConfig.model_validate(CONFIG)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.limits = Limits(
            artim_seconds=1, idle_seconds=1, pdu_seconds=1, message_seconds=2, linger_seconds=0.2
        )

    def __call__(self, data: bytes) -> None:
        books = Books()
        slots = AssociationSlots(1, None)
        services = Services(
            spool=Spool(books),
            associations=books,  # type: ignore[arg-type]
            hosts=Hosts(),
            slots=slots,
            rejections=RejectionBudget(),
            limits=self.limits,
            max_pdu=16384,
            reject_unknown_sources=False,
        )
        with socket.create_connection(self.listener.getsockname()) as peer:
            taken, address = self.listener.accept()
            peer.sendall(data[:60_000])
            peer.shutdown(socket.SHUT_WR)
            Acceptor(taken, address, self.config, services).run()
        assert not self.faults.seen, self.faults.seen
        assert not books.open
        assert books.writing == 0
        assert slots.active == 0


def commands(data: bytes) -> None:
    """The DIMSE command parser; what it reads can be answered and read again."""
    with contextlib.suppress(ProtocolViolation):
        command = dimse.decode(data)
        answer = dimse.decode(dimse.response(command, 0xC000, command.text(0x0902)))
        assert answer.number(0x0120) == command.message_id
        assert len(answer.text(0x0902)) <= 64
        _ = command.has_data_set, command.sop_class_uid, command.sop_instance_uid


def associations(data: bytes) -> None:
    """A-ASSOCIATE-RQ and -AC; what is read is written and read alike."""
    with contextlib.suppress(ProtocolViolation):
        asked = pdu.decode_request(memoryview(data))
        assert all(len(c.transfer_syntaxes) <= len(data) for c in asked.contexts)
    with contextlib.suppress(ProtocolViolation):
        pdu.decode_accept(memoryview(data))


class Files:
    """The reader of file meta information, and the walk to the UIDs."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._path = Path(self._folder.name, "file.dcm")

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        with contextlib.suppress(NotDicom):
            found = read_instance(self._path)
            assert 0 <= found.offset <= len(data)
            assert found.offset + found.length == len(data)
        for syntax in SYNTAXES:
            sop_uids(data, syntax)


def heads(data: bytes) -> None:
    """The head parsers: strangers' bytes are Unusable at worst, and both parsers agree."""
    for syntax in SYNTAXES:
        general = None
        with contextlib.suppress(Unusable):
            general = read_head(io.BytesIO(file_meta(CT, "1.2.3", syntax) + data))
        lean = lean_head(memoryview(data), syntax)
        assert lean is None or lean == general, (syntax, lean, general)


def configs(data: bytes) -> None:
    """YAML documents: settings and AE configuration."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(ConfigError):
        document = parse(text, "fuzz.yaml")
        for model in (AeFile, GatewaySettings):
            with contextlib.suppress(ConfigError):
                validate(model, document)


def _seeds_of_streams() -> list[bytes]:
    asked = pdu.encode_request(request())
    store = p_data(pdv(1, store_command(), command=True), pdv(1, bytes(30)))
    echo = dimse.encode({0x0100: dimse.us(0x30), 0x0110: dimse.us(1), 0x0800: dimse.us(0x0101)})
    verify = pdu.encode_request(request([("1.2.840.10008.1.1", [EXPLICIT])]))
    return [
        asked + store * 2 + pdu.RELEASE_RQ,
        asked + store[:-5] + pdu.abort(0, 0),
        verify + p_data(pdv(1, echo, command=True)) + pdu.RELEASE_RQ,
    ]


def _seeds_of_data() -> list[bytes]:
    ds = slice_()
    return [encode(ds, syntax) for syntax in SYNTAXES[:3]]


YAML = [
    b"applications:\n- {ae-title: AI, rules: [{name: a, pipeline: b, when: 'true'}]}\n",
    b"dicom: {port: 1, tls: {port: 2}, limits: {contexts: 3}}\nimages: {a: {command: [b]}}\n",
    b"api-version: 0.4.0\nname: x\noperators:\n- name: a\n  container: {image: b}\n",
    b"a: &a [1, 2]\nb: [*a, *a]\nc: !!binary x\nd: 2020-01-01\n",
]

TARGETS: dict[str, tuple[Callable[[], Callable[[bytes], None]], Callable[[], list[bytes]]]] = {
    "acceptor": (Acceptors, _seeds_of_streams),
    "commands": (lambda: commands, lambda: [store_command()]),
    "associations": (lambda: associations, lambda: [pdu.encode_request(request())[6:]]),
    "files": (
        Files,
        lambda: [file_meta(CT, "1.2.3", EXPLICIT) + data for data in _seeds_of_data()],
    ),
    "heads": (lambda: heads, _seeds_of_data),
    "configs": (lambda: configs, lambda: YAML),
}


def main() -> None:
    """Fuzz one target; the corpus is the last argument and gets the seeds first."""
    name, *options = sys.argv[1:]
    make, seeds = TARGETS[name]
    corpus = Path(options[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    logging.getLogger().addHandler(logging.NullHandler())
    atheris.Setup([sys.argv[0], *options], make())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
