"""What a gateway process is made of: parts that start once and stop once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Part(Protocol):
    """Something that is started once and stopped once."""

    def start(self) -> None:
        """Begin to work; returns at once."""

    def stop(self) -> None:
        """End; returns when nothing of it runs."""


class Worker(Protocol):
    """A loop for a thread of its own."""

    def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Let :meth:`run` end."""


class Threaded:
    """A worker in its thread, as a part."""

    def __init__(self, name: str, worker: Worker) -> None:
        self._worker = worker
        self._thread = threading.Thread(target=worker.run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker and wait for its thread."""
        self._worker.stop()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """True while the worker works."""
        return self._thread.is_alive()


@dataclass(frozen=True)
class Ending:
    """A part that needs no start, only an end."""

    end: Callable[[], object]

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """End it."""
        self.end()
