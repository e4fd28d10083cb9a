"""A PACS that keeps everything it was ever sent, so that doubles are seen."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from tests.support.programs import free_port


class CountingPacs:
    """A pynetdicom storage SCP on loopback; counts each SOP Instance UID with its bytes."""

    def __init__(self, port: int | None = None, ae_title: str = "PACS") -> None:
        self.port = port or free_port()
        self.ae_title = ae_title
        self.seen: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        self._server: Any = None

    def start(self) -> None:
        """Listen."""
        ae = AE(ae_title=self.ae_title)
        ae.supported_contexts = [*AllStoragePresentationContexts]
        ae.add_supported_context(Verification)
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def stop(self) -> None:
        """Be down."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def destination(self, name: str = "PACS") -> dict[str, Any]:
        """As ``ae_config`` names it."""
        return {"name": name, "ae-title": self.ae_title, "host": "127.0.0.1", "port": self.port}

    def _store(self, event: Any) -> int:
        with self._lock:
            digest = hashlib.sha256(event.encoded_dataset(include_meta=False)).hexdigest()
            self.seen[str(event.request.AffectedSOPInstanceUID)].append(digest)
        return 0x0000


@contextmanager
def counting_pacs() -> Iterator[CountingPacs]:
    """A PACS that is up."""
    pacs = CountingPacs()
    pacs.start()
    try:
        yield pacs
    finally:
        pacs.stop()
