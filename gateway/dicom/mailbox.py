"""Commitment notices on disk, between the process that receives and the one with the database.

::

    <data-dir>/commitments/
      <id>.json              a notice that was received; there before its Success was sent
      known/<transaction>    transactions of ours: a report of another one is refused
      answers/<id>.json      a report to be sent over the association that asked for it

Every file appears whole (written, flushed, renamed, folder flushed) and is removed by whoever
worked it off; a notice that is worked off twice changes nothing the second time.  Callable from
any thread and process.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.dicom.sop_classes import is_uid
from gateway.payloads.folders import sync_folder

MOST_WAITING = 10_000
"""Received notices that may wait at once; beyond it peers are told to come back later."""


class MailboxFullError(OSError):
    """So many notices wait that no further one is taken."""


class Mailbox:
    """The notices below one ``data-dir``."""

    def __init__(self, data_dir: Path) -> None:
        """Create the folders; raises OSError."""
        self.root = data_dir / "commitments"
        self._known = self.root / "known"
        self._answers = self.root / "answers"
        for folder in (self.root, self._known, self._answers):
            folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(self.root)
        sync_folder(data_dir)

    def put(self, document: Mapping[str, Any]) -> None:
        """Keep a received notice; durable when it returns.  Raises OSError."""
        if sum(1 for _ in self.root.glob("*.json")) >= MOST_WAITING:
            raise MailboxFullError(f"{MOST_WAITING} notices are waiting")
        _write(self.root, f"{uuid.uuid4().hex}.json", document)

    def waiting(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Received notices, oldest first, each with its file to remove once worked off."""
        files = [(path.stat().st_mtime_ns, path) for path in self.root.glob("*.json")]
        for _, path in sorted(files):
            try:
                document = json.loads(path.read_text())
            except ValueError:
                # Nothing of ours writes such a file; kept for a person, in nobody's way.
                self.set_aside(path)
                continue
            yield path, document

    def set_aside(self, path: Path) -> None:
        """Keep a notice that nobody can work off under a name that nobody reads."""
        path.rename(path.with_suffix(".bad"))

    def expect(self, transaction_uid: str) -> None:
        """Make a transaction of ours known, durably."""
        _write(self._known, transaction_uid, {})

    def forget(self, transaction_uid: str) -> None:
        """Let a transaction be unknown; gone already is fine."""
        (self._known / transaction_uid).unlink(missing_ok=True)

    def expects(self, transaction_uid: str) -> bool:
        """Whether the transaction is one of ours."""
        return is_uid(transaction_uid) and (self._known / transaction_uid).is_file()

    def answer(self, request_id: str, document: Mapping[str, Any]) -> None:
        """Leave the report of a request for the association that asked, durably."""
        _write(self._answers, f"{request_id}.json", document)

    def take_answer(self, request_id: str) -> dict[str, Any] | None:
        """Take the report that was left, if it was; nobody else gets it afterwards."""
        path = self._answers / f"{request_id}.json"
        try:
            document: dict[str, Any] = json.loads(path.read_text())
            path.unlink()
        except FileNotFoundError:
            return None
        return document


def _write(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    temporary = folder / f".{name}.{uuid.uuid4().hex}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)
