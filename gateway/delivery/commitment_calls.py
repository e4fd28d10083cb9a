"""How peers are called for storage commitment: whom, where, as whom."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy.engine import Row

from gateway.config.applications import Destination, Source
from gateway.config.tls import TlsSettings
from gateway.dicom import commitment_scu
from gateway.dicom.commitment import Notice
from gateway.dicom.commitment_scu import Committing, Reported
from gateway.dicom.limits import RequestorTimeouts
from gateway.dicom.peer import Peer


class CommitmentCalls:
    """Opens the associations; holds no state, any thread may use it."""

    def __init__(
        self, timeouts: RequestorTimeouts | None = None, tls: TlsSettings | None = None
    ) -> None:
        """``tls``: how destinations and sources with ``tls: true`` are called."""
        self._timeouts = timeouts
        self._tls = tls or TlsSettings()

    def ask(self, destination: Destination, reported: Reported) -> Committing:
        """An association on which ``destination`` is asked; raises as :class:`Committing`."""
        return Committing(Peer.of(destination, self._tls), reported, self._timeouts)

    def tell(self, row: Row[Any], source: Source, notice: Notice) -> None:
        """Report to the modality at ``source.port``; raises as :func:`commitment_scu.tell`.

        First where it called from; after a failure also at the other hosts of its entry, one
        after the other.
        """
        hosts = list(dict.fromkeys([row.host, *(h for h in source.hosts if _is_one(h))]))
        host = hosts[row.attempts % len(hosts)]
        tls = self._tls if source.tls else None
        peer = Peer(row.calling_ae, host, source.port or 0, row.called_ae, tls)
        commitment_scu.tell(peer, notice, self._timeouts)


def _is_one(host: str) -> bool:
    """Whether an entry names one host rather than a network."""
    try:
        return ipaddress.ip_network(host, strict=False).num_addresses == 1
    except ValueError:
        return True
