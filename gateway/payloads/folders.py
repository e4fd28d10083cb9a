"""Where things lie below ``data-dir``.

::

    data-dir/
      incoming/<id>.part             a large instance on its way in
      log/<receiver>/<n>.seg         what arrived and is not yet in files and index
      spool/<yyyymmdd>/<hh>/<id>.dcm acknowledged instances, data sets byte for byte as sent
      quarantine/<id>.dcm            data sets that cannot be indexed
      orphans/<name>                 files found at start that no record knows
      payloads/<job payload>/        input and outputs of jobs
      logs/<job>/<attempt>/          logs of operators
      logs/services/                 logs of services, the last 50
      render/<payload>.<digest>/     volumes made for the browser: may be deleted at any time
      services/<id>/                 folders that a service shares with operators
      common/                        what services see read-only, unless `common-dir` says where
      gateway.db                     the database, unless it is elsewhere
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """The folders below one ``data-dir``."""

    root: Path

    @property
    def incoming(self) -> Path:
        """Instances on their way in."""
        return self.root / "incoming"

    @property
    def log(self) -> Path:
        """The intake logs, one folder per receiver."""
        return self.root / "log"

    @property
    def spool(self) -> Path:
        """Acknowledged instances."""
        return self.root / "spool"

    @property
    def quarantine(self) -> Path:
        """Data sets that cannot be indexed."""
        return self.root / "quarantine"

    @property
    def orphans(self) -> Path:
        """Files no record knows."""
        return self.root / "orphans"

    @property
    def payloads(self) -> Path:
        """Job payloads."""
        return self.root / "payloads"

    @property
    def logs(self) -> Path:
        """Logs of operators."""
        return self.root / "logs"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "gateway.db"

    def create(self) -> None:
        """Make every folder, readable by the gateway's user alone, and make that durable."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (
            self.incoming,
            self.log,
            self.spool,
            self.quarantine,
            self.orphans,
            self.payloads,
            self.logs,
        ):
            folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(self.root)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
