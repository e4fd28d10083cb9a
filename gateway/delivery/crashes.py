"""Logging what a worker did not expect, without what libraries quote."""

from __future__ import annotations

import logging
import traceback


def log_crash(log: logging.Logger, message: str, error: Exception) -> None:
    """Log type and places only: messages of libraries may quote the values they choke on."""
    places = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
    log.error(message, extra={"error": type(error).__name__, "trace": places})
