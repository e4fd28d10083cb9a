"""A modality of tests that asks for storage commitment and hears of it (pynetdicom)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from gateway.database.schema import instances
from tests.support.committing import report
from tests.support.job_payload import JobPayload
from tests.support.programs import free_port


@dataclass
class Modality:
    """A commitment SCU with an SCP for its reports."""

    aet: str = "CT1"
    port: int = field(default_factory=free_port)
    status: int = 0
    """What it answers to reports."""
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    """Event type and information of each."""

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[None]:
        """Be there for reports over associations of their own, over TLS if given."""
        ae = AE(self.aet)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        server = ae.start_server(
            ("127.0.0.1", self.port), block=False, ssl_context=tls, evt_handlers=handlers
        )
        try:
            yield
        finally:
            server.shutdown()

    def on_report(self, event: Any) -> tuple[int, None]:
        """Keep one."""
        self.reports.append((event.event_type, event.event_information))
        return self.status, None

    @contextmanager
    def associated(self, port: int, called: str = "AI") -> Iterator[Any]:
        """An association to ask over; reports may come over it too."""
        ae = AE(self.aet)
        ae.add_requested_context(StorageCommitmentPushModel)
        assoc = ae.associate(
            "127.0.0.1", port, ae_title=called,
            ext_neg=[build_role(StorageCommitmentPushModel, scu_role=True)],
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.on_report)],
        )  # fmt: skip
        assert assoc.is_established
        try:
            yield assoc
        finally:
            assoc.release()


def index(house: JobPayload, called: str = "AI", sop_class: str = CTImageStorage) -> str:
    """An instance as received: in the index, its file there."""
    uid = str(generate_uid())
    path = house.data_dir / "spool" / f"{uid}.dcm"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"instance")
    row = {
        "sop_instance_uid": uid, "sop_class_uid": sop_class, "transfer_syntax_uid": "1.2",
        "study_instance_uid": "1", "series_instance_uid": "1", "called_ae": called,
        "calling_ae": "CT1", "host": "127.0.0.1", "association_id": "0" * 32,
        "path": f"spool/{uid}.dcm", "size": 8, "digest": "0", "kind": "RECEIVED",
        "state": "STORED", "received_at": time.time(),
    }  # fmt: skip
    with house.database.begin() as connection:
        connection.execute(sa.insert(instances).values(row))
    return uid


def ask(assoc: Any, references: list[tuple[str, str]], **odd: Any) -> tuple[str, int]:
    """N-ACTION; the transaction and the status of the response."""
    ds = report(str(generate_uid()), ["1.2"])
    ds.ReferencedSOPSequence = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        ds.ReferencedSOPSequence.append(item)
    for keyword, value in odd.get("changes", {}).items():
        setattr(ds, keyword, value)
    status, _ = assoc.send_n_action(
        ds,
        odd.get("action", 1),
        StorageCommitmentPushModel,
        odd.get("instance", StorageCommitmentPushModelInstance),
    )
    return str(ds.TransactionUID), status.Status
