"""Logs: JSON lines for machines, short lines for a terminal, no patient data in either.

A record's own fields are given as ``extra={"payload_id": …}``; ``correlation_id`` follows a
study from its association to its delivery.  Known patient-data keys are dropped by a guard and
their names listed under ``dropped``, so that the mistake is seen without the value.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import IO, Any, Literal

from gateway.events.privacy import is_patient_key, scrub, scrub_text
from gateway.events.times import rfc3339

Format = Literal["json", "text"]

# These say at INFO what nobody asked for, or spell out values of data sets and queries.
_QUIET = {
    "pynetdicom": logging.WARNING,
    "pydicom": logging.ERROR,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "uvicorn.error": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "asyncio": logging.WARNING,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def configure(
    form: Format | None = None, level: int = logging.INFO, stream: IO[str] | None = None
) -> logging.Handler:
    """Send every log record of the process to ``stream`` (default stderr); return the handler.

    ``form`` None chooses text for a terminal and JSON for anything else.  A second call replaces
    the first.  Call it once, from the program's entry point.
    """
    out = sys.stderr if stream is None else stream
    if form is None:
        form = "text" if out.isatty() else "json"
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, level))
    return handler


def fields(record: logging.LogRecord) -> tuple[dict[str, Any], list[str]]:
    """Give the extra fields of ``record`` that may be shown, and the names of those dropped."""
    given = {k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")}
    dropped = sorted(key for key in given if is_patient_key(key))
    return {k: scrub(v) for k, v in given.items() if k not in dropped}, dropped


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render ``record``; never fails on an odd value."""
        extra, dropped = fields(record)
        line: dict[str, Any] = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub_text(record.getMessage()),
        }
        line.update({k: v for k, v in extra.items() if k not in line})
        if dropped:
            line["dropped"] = dropped
        if record.exc_info:
            line["exception"] = scrub_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: local time, level, message, fields as ``key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Render ``record``; control characters in it are shown as escapes."""
        extra, dropped = fields(record)
        if dropped:
            extra["dropped"] = dropped
        stamp = self.formatTime(record, "%H:%M:%S")
        message = _one_line(scrub_text(record.getMessage()))
        tail = "".join(f" {key}={_one_line(_plain(value))}" for key, value in extra.items())
        text = f"{stamp} {record.levelname.lower():7} {message}{tail}"
        if record.exc_info:
            text += "\n" + scrub_text(self.formatException(record.exc_info))
        return text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
