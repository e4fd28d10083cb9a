"""A modality of tests that asks for storage commitment and hears of it (pynetdicom)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

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
    def listening(self) -> Iterator[None]:
        """Be there for reports over associations of their own."""
        ae = AE(self.aet)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.on_report)]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
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
