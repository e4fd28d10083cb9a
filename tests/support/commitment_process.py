"""A process of ours to be killed: ``python commitment_process.py DATA_DIR AE_DIR PORT``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gateway.config.live import LiveAeConfig
from gateway.database.engine import Database
from tests.support.committing import commitment_worker, listener
from tests.support.databases import database_url
from tests.support.deliveries import worker


def main(data_dir: Path, ae_dir: Path, port: int) -> None:
    """Deliver, ask, tell and listen until killed."""
    database = Database(database_url(data_dir))
    config = LiveAeConfig(ae_dir)
    deliverer = worker(database, data_dir, config)
    deliverer.recover()
    threading.Thread(target=deliverer.run, daemon=True).start()
    listener(database, data_dir, config, port).start()
    subject = commitment_worker(database, data_dir, config)
    subject.recover()
    subject.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
