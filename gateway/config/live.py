"""The AE configuration in force, swapped as a whole when its files change.

A bad file never replaces a good configuration: the fault is kept beside it for ``/health``, the
log and the metric ``gateway_ae_config_valid``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.config.applications import AeConfig, CheckRule, files, load
from gateway.config.document import ConfigError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How often the files are looked at; a change is read once two looks in a row agree."""


class CurrentConfig(Protocol):
    """Whoever knows the configuration in force."""

    @property
    def current(self) -> AeConfig:
        """The last good configuration."""


class LiveAeConfig:
    """The configuration in force; ``current`` may be read from any thread."""

    def __init__(
        self,
        folder: Path,
        check_rule: CheckRule | None = None,
        changed: Callable[[AeConfig], None] | None = None,
    ) -> None:
        """Load ``folder`` at once; raises :class:`ConfigError` when it is bad from the start."""
        self._folder = folder
        self._check_rule = check_rule
        self._changed = changed
        self._seen = self._look()
        self._current = load(folder, check_rule)
        self._fault: ConfigError | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def current(self) -> AeConfig:
        """The last good configuration."""
        return self._current

    @property
    def fault(self) -> ConfigError | None:
        """Why the files on disk are not in force, or None when they are."""
        return self._fault

    def reload(self) -> bool:
        """Read the files again now; True when they are in force afterwards."""
        with self._lock:
            try:
                fresh = load(self._folder, self._check_rule)
            except ConfigError as error:
                self._fault = error
                log.error(  # noqa: TRY400 - the faults say it all, no trace wanted
                    "ae_config is bad, the last good one stays in force",
                    extra={"faults": [str(f) for f in error.faults]},
                )
                return False
            self._fault = None
            if fresh.version != self._current.version:
                self._current = fresh
                log.info("ae_config reloaded", extra={"version": fresh.version[:12]})
                if self._changed is not None:
                    self._changed(fresh)
            return True

    def watch(self) -> None:
        """Follow the files until :meth:`stop`; run it in a thread of its own."""
        before = self._seen
        while not self._stop.wait(POLL_SECONDS):
            try:
                look = self._look()
                # A file that is just being written in place is empty or cut short for a moment,
                # and may be valid like that: wait until it rests.
                if look == before and look != self._seen:
                    self._seen = look
                    self.reload()
                before = look
            except Exception:
                # Boundary of the thread: whoever hears of a change must not end the watch.
                log.exception("following ae_config failed, goes on")

    def stop(self) -> None:
        """End :meth:`watch`."""
        self._stop.set()

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        """Name, inode, size and time of every file: changes when any of them does."""
        seen = []
        for path in files(self._folder):
            try:
                stat = path.stat()
            except OSError:
                continue
            seen.append((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(seen)
