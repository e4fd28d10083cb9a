"""A storage SCP that answers as a script says: any status, an abort, or silence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from tests.support.programs import free_port

Script = Callable[[str, int], int | str]
"""Given the SOP Instance UID and how often it came before: a status, ``abort`` or ``hang``."""


@dataclass
class ScriptedScp:
    """What the SCP saw; ``received`` holds (SOP Instance UID, status or word) in order."""

    port: int
    aet: str
    received: list[tuple[str, int | str]] = field(default_factory=list)
    associations: int = 0
    release_hung: threading.Event = field(default_factory=threading.Event)

    def count(self, uid: str) -> int:
        """How often the instance came."""
        return sum(1 for got, _ in list(self.received) if got == uid)

    def stored(self) -> list[str]:
        """SOP Instance UIDs answered with Success or a warning, in order."""
        return [
            uid
            for uid, answer in list(self.received)
            if isinstance(answer, int) and (answer == 0 or answer & 0xF000 == 0xB000)
        ]


@contextmanager
def running_scripted_scp(
    script: Script = lambda _uid, _before: 0,
    aet: str = "SCRIPTED",
    port: int | None = None,
    sop_classes: tuple[str, ...] = (CTImageStorage,),
) -> Iterator[ScriptedScp]:
    """The SCP on loopback; it stores nothing."""
    peer = ScriptedScp(port or free_port(), aet)

    def on_open(event: Any) -> None:
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_accepted(_event: Any) -> None:
        peer.associations += 1

    def on_store(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        answer = script(uid, peer.count(uid))
        peer.received.append((uid, answer))
        if answer == "abort":
            event.assoc.abort()
            return 0
        if answer == "hang":
            peer.release_hung.wait(30)
            return 0xA700
        return int(answer)

    ae = AE(aet)
    ae.require_called_aet = True
    ae.add_supported_context(Verification)
    for sop_class in sop_classes:
        ae.add_supported_context(sop_class)
    server = ae.start_server(
        ("127.0.0.1", peer.port),
        block=False,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, on_open),
            (evt.EVT_ACCEPTED, on_accepted),
            (evt.EVT_C_STORE, on_store),
        ],
    )
    try:
        yield peer
    finally:
        peer.release_hung.set()
        server.shutdown()
