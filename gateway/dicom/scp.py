"""The storage SCP: many AE titles on one port, one thread per association."""

from __future__ import annotations

import collections
import logging
import resource
import threading
import time
from socket import socket

from gateway.config.live import LiveAeConfig
from gateway.config.settings import DicomSettings
from gateway.dicom.acceptor import Acceptor, Services, Snapshot
from gateway.dicom.flood import RejectionBudget
from gateway.dicom.hosts import Hosts
from gateway.dicom.limits import Limits
from gateway.dicom.lobby import Lobby, listen
from gateway.dicom.policy import Rejection, Why
from gateway.payloads.associations import Associations
from gateway.payloads.receiving import Spool

log = logging.getLogger(__name__)

_SPARE_THREADS = 32
"""Connections beside the open associations that may be negotiating or being refused."""


class AssociationSlots:
    """Counts open associations in total and per peer address; callable from any thread."""

    def __init__(self, total: int, per_peer: int | None) -> None:
        self._total = total
        self._per_peer = per_peer
        self._by_host: collections.Counter[str] = collections.Counter()
        self._stopping = False
        self._lock = threading.Lock()

    @property
    def active(self) -> int:
        """Open associations."""
        return self._by_host.total()

    def take(self, host: str) -> Rejection | None:
        """Take a slot for ``host``, or say why there is none."""
        with self._lock:
            if self._stopping:
                return Rejection(Why.STOPPING, "the gateway is stopping")
            if self._by_host.total() >= self._total:
                return Rejection(
                    Why.ASSOCIATION_LIMIT,
                    f"{self._total} associations are open (setting dicom.max-associations)",
                )
            if self._per_peer is not None and self._by_host[host] >= self._per_peer:
                return Rejection(
                    Why.PEER_LIMIT, f"{host} has {self._per_peer} associations open already"
                )
            self._by_host[host] += 1
        return None

    def give_back(self, host: str) -> None:
        """Return a slot that was taken."""
        with self._lock:
            self._by_host[host] -= 1
            if self._by_host[host] <= 0:
                del self._by_host[host]

    def close(self) -> None:
        """Refuse every further association."""
        with self._lock:
            self._stopping = True


class StorageScp:
    """Listens, admits and receives; every method may be called from any thread."""

    def __init__(
        self,
        settings: DicomSettings,
        ae_config: LiveAeConfig,
        spool: Spool,
        associations: Associations,
        *,
        limits: Limits | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """Bind nothing yet; ``limits`` and ``hosts`` are for callers that need others."""
        self._settings = settings
        self._ae_config = ae_config
        self._limits = limits or Limits()
        self._slots = AssociationSlots(settings.max_associations, self._limits.peer_associations)
        self._services = Services(
            spool=spool,
            associations=associations,
            hosts=hosts or Hosts(),
            slots=self._slots,
            rejections=RejectionBudget(),
            limits=self._limits,
            max_pdu=settings.max_pdu,
            reject_unknown_sources=settings.reject_unknown_sources,
        )
        self._threads: dict[threading.Thread, Acceptor] = {}
        self._lock = threading.Lock()
        self._lobby: Lobby | None = None
        self._lobby_thread: threading.Thread | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The bound TCP port; 0 before :meth:`start`."""
        return self._port

    @property
    def active(self) -> int:
        """How many associations are open."""
        return self._slots.active

    def snapshot(self) -> list[Snapshot]:
        """The open associations and what each did so far."""
        with self._lock:
            acceptors = list(self._threads.values())
        return [s for s in (acceptor.snapshot for acceptor in acceptors) if s is not None]

    def start(self) -> None:
        """Bind and accept; raises OSError when the port is taken.  Call once."""
        listener = listen(self._settings.bind, self._settings.port)
        self._port = listener.getsockname()[1]
        self._lobby = Lobby(
            listener,
            self._greet,
            seats=_seats(self._limits.half_open),
            silence_seconds=self._limits.artim_seconds,
        )
        self._lobby_thread = threading.Thread(
            target=self._lobby.run, name="dicom-accept", daemon=True
        )
        self._lobby_thread.start()
        log.info("listening for DICOM", extra={"bind": self._settings.bind, "port": self._port})

    def stop(self, timeout: float = 15.0) -> None:
        """Stop accepting, let associations end for ``timeout`` seconds, then abort the rest."""
        self._slots.close()
        if self._lobby is not None and self._lobby_thread is not None:
            self._lobby.stop()
            self._lobby_thread.join()
            self._lobby = self._lobby_thread = None
        self._join(time.monotonic() + timeout)
        with self._lock:
            left = list(self._threads.values())
        for acceptor in left:
            acceptor.interrupt()
        self._join(time.monotonic() + self._limits.linger_seconds + 5.0)

    def _join(self, deadline: float) -> None:
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _greet(self, sock: socket, address: tuple[str, int]) -> None:
        """Give a connection its thread; called by the accept loop."""
        if len(self._threads) >= self._settings.max_associations + _SPARE_THREADS:
            # No thread left to say no politely: only a flood of refused callers comes here.
            log.warning("connection dropped: too many at once", extra={"host": address[0]})
            sock.close()
            return
        acceptor = Acceptor(sock, address, self._ae_config.current, self._services)
        thread = threading.Thread(
            target=self._run, args=(acceptor,), name=f"dicom-{address[0]}", daemon=True
        )
        with self._lock:
            self._threads[thread] = acceptor
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._threads[thread]
            raise

    def _run(self, acceptor: Acceptor) -> None:
        try:
            acceptor.run()
        finally:
            with self._lock:
                self._threads.pop(threading.current_thread(), None)


def _seats(wanted: int) -> int:
    """Silent connections to keep: at most a quarter of the descriptors this process may have.

    The rest is for associations and their files: a flood of connections must not fail a write.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft // 4))
