"""The wish that a running program ends, from whoever wishes it to the thread that waits for it."""

from __future__ import annotations

import os
import threading

from gateway.jobs.executor import Stop

WORDS = {
    Stop.CANCEL: "the job was cancelled",
    Stop.TIMEOUT: "the job's time was over",
    Stop.SHUTDOWN: "the gateway stops",
}
"""Why an operator that was stopped was stopped."""


class StopFlag:
    """Asks one program to end; set from any thread, seen at once by the one that waits for it."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._open = True
        self.is_set = False

    def set(self) -> None:
        """Ask; again is no different."""
        with self._lock:
            if self._open and not self.is_set:
                self.is_set = True
                os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Readable once set."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._fd)
