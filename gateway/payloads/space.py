"""Whether there is room for more images (settings ``storage``)."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from gateway.config.settings import StorageSettings

FRESH_SECONDS = 1.0
"""How old a measurement of the disk may be."""


class Space:
    """Measures the disk of ``data-dir`` at most once a second; any thread may ask."""

    def __init__(self, folder: Path, settings: StorageSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._measured_at = 0.0
        self._full: str | None = None

    def full(self) -> str | None:
        """Why no more images are taken, or None when there is room."""
        now = time.monotonic()
        with self._lock:
            if now - self._measured_at > FRESH_SECONDS:
                self._full = self._measure()
                self._measured_at = now
            return self._full

    def _measure(self) -> str | None:
        usage = shutil.disk_usage(self._folder)
        used = 100 * (1 - usage.free / usage.total)
        if used > self._settings.watermark_percent:
            return f"disk {used:.0f} % full, watermark {self._settings.watermark_percent:g} %"
        if usage.free < self._settings.reserve_gb * 1e9:
            return f"{usage.free / 1e9:.1f} GB free, reserve {self._settings.reserve_gb:g} GB"
        return None
