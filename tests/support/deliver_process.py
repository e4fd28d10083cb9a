"""A delivering process to be killed: ``python deliver_process.py DATA_DIR AE_DIR``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from tests.support.databases import database_url
from tests.support.deliveries import worker


def main(data_dir: Path, ae_dir: Path) -> None:
    """Deliver until killed."""
    database = Database(database_url(data_dir))
    subject = worker(database, data_dir, LiveAeConfig(ae_dir))
    subject.recover()
    subject.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
