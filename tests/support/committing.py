"""Storage commitment in tests: a PACS that commits as it is told, and our side over it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from gateway.config.live import LiveAeConfig
from gateway.config.settings import DicomSettings
from gateway.config.tls import TlsSettings
from gateway.database.engine import Database
from gateway.delivery.commitment_calls import CommitmentCalls
from gateway.delivery.commitment_policy import CommitmentPolicy
from gateway.delivery.commitment_worker import CommitmentWorker
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.scp import StorageScp
from gateway.events.wake import Wakeups
from gateway.payloads.associations import Associations
from gateway.results.backoff import Backoff
from tests.support.deliveries import TIMEOUTS, delivering, worker
from tests.support.dicompeer import FileSpool
from tests.support.programs import free_port

QUICK = CommitmentPolicy(
    report_seconds=60.0,
    same_association_seconds=0.3,
    backoff=Backoff(0.05, 0.2),
    poll_seconds=0.05,
    index_seconds=0.0,
)


@dataclass(frozen=True)
class Asked:
    """One N-ACTION: its transaction and the instances it names."""

    transaction_uid: str
    instances: tuple[str, ...]
    calling_ae: str


@dataclass
class CommittingPacs:
    """A storage and commitment SCP on loopback; it keeps nothing but what it was asked."""

    aet: str = "PACS"
    port: int = field(default_factory=free_port)
    status: Callable[[int], int] = lambda _n: 0
    """The status of the n-th N-ACTION."""
    at_once: bool = False
    """Report on the same association, right after the response."""
    asked: list[Asked] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    reports: list[int | None] = field(default_factory=list)
    """Statuses of the responses to our reports on the same association."""
    owed: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    """What is to be reported on an association when its response has gone out."""

    def start(self) -> None:
        ae = AE(self.aet)
        for context in (Verification, CTImageStorage, StorageCommitmentPushModel):
            ae.add_supported_context(context)
        self._server: Any = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _no_delay),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._action),
                (evt.EVT_DIMSE_SENT, self._sent),
            ],
        )

    def stop(self) -> None:
        self._server.shutdown()

    def destination(self, **more: Any) -> dict[str, Any]:
        """As ``ae_config`` names it."""
        peer = {"name": "PACS", "ae-title": self.aet, "host": "127.0.0.1", "port": self.port}
        return peer | {"commitment": True} | more

    def _store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def _action(self, event: Any) -> tuple[int, None]:
        info = event.action_information
        references = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID)
                      for i in info.ReferencedSOPSequence]  # fmt: skip
        assert event.action_type == 1
        status = self.status(len(self.asked))
        calling = event.assoc.requestor.ae_title
        uids = tuple(str(uid) for _, uid in references)
        self.asked.append(Asked(str(info.TransactionUID), uids, calling))
        if self.at_once and status == 0:
            self.owed[event.assoc] = info.TransactionUID, references
        return status, None

    def _sent(self, event: Any) -> None:
        # pynetdicom loses the answer to a report that overtakes its own response.
        if type(event.message).__name__ == "N_ACTION_RSP" and event.assoc in self.owed:
            what = self.owed.pop(event.assoc)
            threading.Timer(0.05, self._report_here, (event.assoc, *what)).start()

    def _report_here(self, assoc: Any, transaction: str, references: Any) -> None:
        status, _ = assoc.send_n_event_report(
            report(transaction, [str(uid) for _, uid in references]),
            1,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
        self.reports.append(getattr(status, "Status", None))


def _no_delay(event: Any) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def report(
    transaction: str,
    committed: Sequence[str] = (),
    failed: Sequence[tuple[str, int]] = (),
    sop_class: str = CTImageStorage,
) -> Dataset:
    """An Event Information."""
    ds = Dataset()
    ds.TransactionUID = transaction
    if committed:
        ds.ReferencedSOPSequence = [_reference(uid, sop_class) for uid in committed]
    if failed:
        ds.FailedSOPSequence = [_reference(uid, sop_class) for uid, _ in failed]
        for item, (_, reason) in zip(ds.FailedSOPSequence, failed, strict=True):
            item.FailureReason = reason
    return ds


def _reference(uid: str, sop_class: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    return item


def send_report(
    port: int, ds: Dataset, *, called: str = "GATEWAY", calling: str = "PACS", event_type: int = 0
) -> int | None:
    """Report over a new association, in the SCP role; the status of the response."""
    ae = AE(calling)
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate(
        "127.0.0.1", port, ae_title=called, ext_neg=[role],
        evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay)],
    )  # fmt: skip
    assert assoc.is_established
    assert assoc.accepted_contexts[0].as_scp
    status, _ = assoc.send_n_event_report(
        ds,
        event_type or (2 if "FailedSOPSequence" in ds else 1),
        StorageCommitmentPushModel,
        StorageCommitmentPushModelInstance,
    )
    assoc.release()
    return getattr(status, "Status", None)


@dataclass
class OurSide:
    """What runs of ours: deliverer, commitment worker and listener over one data-dir."""

    listener: StorageScp
    wakeups: Wakeups

    @property
    def port(self) -> int:
        return self.listener.port


def commitment_worker(
    database: Database,
    data_dir: Path,
    config: LiveAeConfig,
    policy: CommitmentPolicy = QUICK,
    wakeups: Wakeups | None = None,
    tls: TlsSettings | None = None,
) -> CommitmentWorker:
    """A worker with quick numbers."""
    calls = CommitmentCalls(TIMEOUTS, tls)
    return CommitmentWorker(
        database, wakeups or Wakeups(), config, data_dir, calls=calls, policy=policy
    )


def listener(database: Database, data_dir: Path, config: LiveAeConfig, port: int = 0) -> StorageScp:
    """A listener whose notices go to the mailbox of ``data_dir``."""
    return StorageScp(
        DicomSettings(bind="127.0.0.1", port=port),
        config,
        FileSpool(data_dir / "inbound"),
        Associations(database, Wakeups()),
        mailbox=Mailbox(data_dir),
    )


@contextmanager
def our_side(
    database: Database,
    data_dir: Path,
    config: LiveAeConfig,
    policy: CommitmentPolicy = QUICK,
    port: int = 0,
    tls: TlsSettings | None = None,
) -> Iterator[OurSide]:
    """Everything running; stopped, and seen to have stopped, on leaving."""
    wakeups = Wakeups()
    subject = commitment_worker(database, data_dir, config, policy, wakeups, tls)
    subject.recover()
    scp = listener(database, data_dir, config, port)
    with ExitStack() as stack:
        stack.enter_context(delivering(worker(database, data_dir, config)))
        thread = threading.Thread(target=subject.run, name="commitments")
        thread.start()
        stack.callback(thread.join, 30)
        stack.callback(subject.stop)
        scp.start()
        stack.callback(scp.stop, 0)
        yield OurSide(scp, wakeups)
    assert not thread.is_alive()


@contextmanager
def committing_pacs(**settings: Any) -> Iterator[CommittingPacs]:
    """A PACS that is up."""
    pacs = CommittingPacs(**settings)
    pacs.start()
    try:
        yield pacs
    finally:
        pacs.stop()
