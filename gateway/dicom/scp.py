"""The storage SCP: many AE titles on one port, one thread per association."""

from __future__ import annotations

import collections
import logging
import resource
import ssl
import threading
import time
from dataclasses import dataclass
from socket import socket
from typing import Protocol

from gateway.config.live import CurrentConfig
from gateway.config.settings import DicomSettings
from gateway.config.tls import listener_context
from gateway.dicom.acceptor import Acceptor, Services, Slots, Snapshot
from gateway.dicom.flood import RejectionBudget
from gateway.dicom.hosts import Hosts
from gateway.dicom.limits import Limits
from gateway.dicom.lobby import Crowd, Lobby, listen
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.policy import Rejection, Why
from gateway.payloads.receiving import AssociationRecords, Spool

log = logging.getLogger(__name__)

_SPARE_THREADS = 32
"""Connections beside the open associations that may be negotiating or being refused."""


class SlotCount(Slots, Protocol):
    """The count of open associations, of this process or of several."""

    @property
    def active(self) -> int:
        """Open associations."""

    def close(self) -> None:
        """Refuse every further association."""


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
        ae_config: CurrentConfig,
        spool: Spool,
        associations: AssociationRecords,
        *,
        limits: Limits | None = None,
        hosts: Hosts | None = None,
        mailbox: Mailbox | None = None,
        slots: SlotCount | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        """Bind nothing yet; ``limits`` and ``hosts`` are for callers that need others.

        ``mailbox`` takes notices of storage commitment; without one they are refused.  ``slots``
        counts associations together with other processes, ``crowd`` shares connections with them.
        """
        self._crowd = crowd or Crowd()
        self._settings = settings
        self._ae_config = ae_config
        self._limits = limits or Limits.of(settings.limits)
        self._slots: SlotCount = slots or AssociationSlots(
            settings.max_associations, self._limits.peer_associations
        )
        self._services = Services(
            spool=spool,
            associations=associations,
            hosts=hosts or Hosts(),
            slots=self._slots,
            rejections=RejectionBudget(),
            limits=self._limits,
            max_pdu=settings.max_pdu,
            reject_unknown_sources=settings.reject_unknown_sources,
            mailbox=mailbox,
        )
        self._threads: dict[threading.Thread, Acceptor] = {}
        self._lock = threading.Lock()
        self._lobbies: list[tuple[Lobby, threading.Thread]] = []
        self._port = 0
        self._tls_port = 0

    @property
    def port(self) -> int:
        """The bound TCP port; 0 before :meth:`start`."""
        return self._port

    @property
    def tls_port(self) -> int:
        """The bound TCP port of the TLS listener; 0 before :meth:`start` or without one."""
        return self._tls_port

    @property
    def active(self) -> int:
        """How many associations are open."""
        return self._slots.active

    def snapshot(self) -> list[Snapshot]:
        """The open associations and what each did so far."""
        with self._lock:
            acceptors = list(self._threads.values())
        return [s for s in (acceptor.snapshot for acceptor in acceptors) if s is not None]

    def start(self, listeners: Listeners | None = None) -> None:
        """Bind and accept; raises OSError when a port is taken, TlsFault when ``dicom.tls`` is bad.

        ``listeners`` are bound already, and shared with other processes.  Call once; nothing
        listens after a fault.
        """
        try:
            found = listeners or bind(self._settings)
            self._port = self._listen(found.plain, None)
            if found.tls is not None:
                self._tls_port = self._listen(found.tls, listener_context(self._settings.tls))
        except Exception:
            self._stop_listening()
            raise
        log.info(
            "listening for DICOM",
            extra={
                "bind": self._settings.bind,
                "port": self._port,
                "tls_port": self._tls_port or None,
            },
        )

    def _listen(self, listener: socket, tls: ssl.SSLContext | None) -> int:
        """Start the accept loop of one listener; returns its port."""
        bound = int(listener.getsockname()[1])
        lobby = Lobby(
            listener,
            lambda sock, address: self._greet(sock, address, tls),
            seats=_seats(self._limits.half_open),
            silence_seconds=self._limits.artim_seconds,
            crowd=self._crowd,
        )
        name = "dicom-accept" if tls is None else "dicom-accept-tls"
        thread = threading.Thread(target=lobby.run, name=name, daemon=True)
        thread.start()
        self._lobbies.append((lobby, thread))
        return bound

    def _stop_listening(self) -> None:
        for lobby, thread in self._lobbies:
            lobby.stop()
            thread.join()
        self._lobbies.clear()

    def stop(self, timeout: float = 15.0) -> None:
        """Stop accepting, let associations end for ``timeout`` seconds, then abort the rest."""
        self._slots.close()
        self._stop_listening()
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

    def _greet(self, sock: socket, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        """Give a connection its thread; called by the accept loop."""
        full = len(self._threads) >= self._settings.max_associations + _SPARE_THREADS
        if full and not self._make_room():
            log.warning("connection dropped: too many at once", extra={"host": address[0]})
            sock.close()
            return
        acceptor = Acceptor(sock, address, self._ae_config.current, self._services, tls)
        thread = threading.Thread(
            target=self._run, args=(acceptor,), name=f"dicom-{address[0]}", daemon=True
        )
        with self._lock:
            self._threads[thread] = acceptor
        self._crowd.came()
        try:
            thread.start()
        except RuntimeError:
            self._crowd.went()
            with self._lock:
                del self._threads[thread]
            raise

    def _make_room(self) -> bool:
        """End the connection that has negotiated, or been refused, for longest.

        A flood of callers that never get an association must not keep a modality out.
        """
        with self._lock:
            oldest = next((a for a in self._threads.values() if a.negotiating), None)
        if oldest is None:
            return False
        oldest.interrupt()
        return True

    def _run(self, acceptor: Acceptor) -> None:
        try:
            acceptor.run()
        finally:
            self._crowd.went()
            with self._lock:
                self._threads.pop(threading.current_thread(), None)


@dataclass(frozen=True)
class Listeners:
    """The sockets that take connections."""

    plain: socket
    tls: socket | None


def bind(settings: DicomSettings) -> Listeners:
    """Bind and listen on the ports of ``settings``.

    Raises OSError when a port is taken, TlsFault when ``dicom.tls`` is bad.
    """
    if settings.tls.port is None:
        return Listeners(listen(settings.bind, settings.port), None)
    listener_context(settings.tls)
    plain = listen(settings.bind, settings.port)
    try:
        return Listeners(plain, listen(settings.bind, settings.tls.port))
    except OSError:
        plain.close()
        raise


def _seats(wanted: int) -> int:
    """Silent connections to keep: at most a quarter of the descriptors this process may have.

    The rest is for associations and their files: a flood of connections must not fail a write.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(16, min(wanted, soft // 4))
