"""A receiver process: wire, policy and log, no database.

Started by :mod:`gateway.dicom.receivers` as ``python -m gateway.dicom.receiver CONTROL BOARD
PLAIN TLS`` (inherited descriptors; TLS may be -1).  It ends with its parent, however that ends:
the kernel kills it when the parent's thread is gone, and the control socket tells it too.

Control socket::

    parent ▶ first line   Start as JSON
             further      {"config": …} · {"verdict": [number, status, comment]} · {"stop": seconds}
    parent ◀ bytes        r = receiving, x = the log has something new
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from socket import MSG_DONTWAIT, socket
from typing import Any

from pydantic import BaseModel

from gateway.config.applications import AeConfig
from gateway.config.settings import DicomSettings, StorageSettings
from gateway.dicom.limits import Limits
from gateway.dicom.lobby import Crowd
from gateway.dicom.mailbox import Mailbox
from gateway.dicom.policy import Rejection, Why
from gateway.dicom.scp import Listeners, StorageScp
from gateway.monitor.garbage import settle
from gateway.monitor.logging import configure
from gateway.payloads.folders import Folders
from gateway.payloads.intake.associations import LoggedAssociations
from gateway.payloads.intake.board import Board
from gateway.payloads.intake.lock import lock_writer
from gateway.payloads.intake.segments import Segments
from gateway.payloads.intake.spool import LogSpool
from gateway.payloads.intake.verdicts import Verdicts
from gateway.payloads.intake.writer import LogWriter
from gateway.payloads.receiving import Outcome, Status
from gateway.payloads.space import Space

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
READY = b"r"
HINT = b"x"


class Start(BaseModel):
    """What a receiver is told when it starts."""

    receiver: int
    after: int
    """Last record of its log that is in the index."""
    data_dir: Path
    dicom: DicomSettings
    storage: StorageSettings
    config: AeConfig
    slots: int
    receivers: int
    """How many share the listeners."""
    log_form: str
    log_level: int


class Told:
    """The AE configuration in force, as the parent tells it."""

    def __init__(self, config: AeConfig) -> None:
        self.current = config


class BoardSlots:
    """Open associations over all receivers; each is taken and given back by its own thread."""

    def __init__(
        self,
        board: Board,
        receiver: int,
        associations: LoggedAssociations,
        total: int,
        per_peer: int | None,
    ) -> None:
        self._board = board
        self._receiver = receiver
        self._associations = associations
        self._total = total
        self._per_peer = per_peer
        self._stopping = False

    @property
    def active(self) -> int:
        """Open associations."""
        return self._board.active()

    def take(self, host: str) -> Rejection | None:
        """Take a slot for ``host``, or say why there is none."""
        if self._stopping:
            return Rejection(Why.STOPPING, "the gateway is stopping")
        slot, used, mine = self._board.take(self._receiver, host, self._per_peer)
        if slot >= 0:
            self._associations.taken.slot = slot
            return None
        if used >= self._total:
            return Rejection(
                Why.ASSOCIATION_LIMIT,
                f"{self._total} associations are open (setting dicom.max-associations)",
            )
        return Rejection(Why.PEER_LIMIT, f"{host} has {mine} associations open already")

    def give_back(self, host: str) -> None:  # noqa: ARG002 - the slot knows its host
        """Return the slot that this thread took."""
        self._board.give_back(self._associations.taken.slot)

    def close(self) -> None:
        """Refuse every further association."""
        self._stopping = True


class SharedCrowd(Crowd):
    """Connections are taken by the receiver that has the fewest, the first of equals.

    Evenly, so that one interpreter does not serve all modalities while another idles; and always
    the first when there is little to do, whose log is warm then.
    """

    def __init__(self, board: Board, receiver: int, receivers: int) -> None:
        self._board = board
        self._receiver = receiver
        self._others = [number for number in range(receivers) if number != receiver]
        self._count = 0
        self._lock = threading.Lock()

    def came(self) -> None:
        """One more."""
        self._add(1)

    def went(self) -> None:
        """One less."""
        self._add(-1)

    def our_turn(self) -> bool:
        """Whether no other receiver comes before this one."""
        mine = (self._count, self._receiver)
        return all(mine < (self._board.crowd(other), other) for other in self._others)

    def _add(self, more: int) -> None:
        with self._lock:
            self._count += more
            self._board.set_crowd(self._receiver, self._count)


class Receiver:
    """The parts of one receiver process."""

    def __init__(self, start: Start, board: Board, control: socket) -> None:
        folders = Folders(start.data_dir)
        folder = folders.log / str(start.receiver)
        power = start.dicom.durability == "power"
        segments = Segments(folder)
        self._lock = lock_writer(folder)
        self._control = control
        self.config = Told(start.config)
        self.verdicts = Verdicts()
        self.writer = LogWriter(
            segments,
            board,
            start.receiver,
            after=start.after,
            power=power,
            wake=self._hint,
            # Its successor begins another segment, after the parent brought in what is whole.
            broken=lambda: os._exit(1),
        )
        associations = LoggedAssociations(self.writer, board)
        spool = LogSpool(
            folders,
            self.writer,
            self.config,
            Space(start.data_dir, start.storage),
            self.verdicts,
            power=power,
        )
        dicom = start.dicom
        self.scp = StorageScp(
            dicom,
            self.config,
            spool,
            associations,
            mailbox=Mailbox(start.data_dir),
            crowd=SharedCrowd(board, start.receiver, start.receivers),
            slots=BoardSlots(
                board,
                start.receiver,
                associations,
                dicom.max_associations,
                Limits.of(dicom.limits).peer_associations,
            ),
        )

    def obey(self) -> None:
        """Follow the parent until it says stop; ends the process when the parent is gone."""
        with self._control.makefile("rb") as lines:
            for line in lines:
                if not self._one(json.loads(line)):
                    return
        # Without its parent nobody reads the log: what is not answered must not be.
        os._exit(1)

    def _one(self, message: dict[str, Any]) -> bool:
        if "config" in message:
            self.config.current = AeConfig.model_validate(message["config"])
        elif "verdict" in message:
            number, status, comment = message["verdict"]
            self.verdicts.tell(number, Outcome(Status(status), comment))
        elif "stop" in message:
            self.scp.stop(message["stop"])
            self.writer.close()
            return False
        return True

    def _hint(self) -> None:
        # A full socket holds hints enough; a closed one ends the process elsewhere.
        with contextlib.suppress(OSError):
            self._control.send(HINT, MSG_DONTWAIT)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Run a receiver over inherited descriptors: control, board, plain and TLS listener."""
    _die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Those go to the whole process group: the parent decides.
        signal.signal(number, signal.SIG_IGN)
    control_fd, board_fd, plain_fd, tls_fd = (int(a) for a in arguments)
    control = socket(fileno=control_fd)
    start = Start.model_validate_json(_line(control))
    configure("text" if start.log_form == "text" else "json", start.log_level)
    receiver = Receiver(start, Board(board_fd, start.slots), control)
    tls = socket(fileno=tls_fd) if tls_fd >= 0 else None
    receiver.scp.start(Listeners(socket(fileno=plain_fd), tls))
    settle()
    control.sendall(READY)
    receiver.obey()


def _line(control: socket) -> bytes:
    """The first line, byte for byte: what follows it is not for this reader."""
    size = int.from_bytes(_exactly(control, 4), "big")
    return _exactly(control, size)


def _exactly(control: socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = control.recv(size - len(found))
        if not piece:
            os._exit(1)
        found += piece
    return bytes(found)


if __name__ == "__main__":
    main(sys.argv[1:])
