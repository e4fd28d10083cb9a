"""A second scheduler on one data folder: refused on SQLite, more hands on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config.settings import load
from gateway.errors import Refused
from tests.support.postgres import fresh_database


def _settings(folder: Path, url: str | None) -> Path:
    file = folder / "gateway.yaml"
    file.write_text("{}\n" if url is None else f"database: {{url: '{url}'}}\n")
    for name in ("ae_config", "pipelines", "models"):
        (folder / name).mkdir(exist_ok=True)
    return file


def test_a_second_scheduler_is_refused_on_sqlite(tmp_path: Path) -> None:
    file = _settings(tmp_path, None)
    first = Gateway(load(file, {}), "scheduler")
    with pytest.raises(Refused, match="already has the role scheduler"):
        Gateway(load(file, {}), "scheduler")
    first.start()
    first.stop()


def test_a_second_scheduler_on_postgresql_runs_jobs_only(
    tmp_path: Path, postgres_server: str
) -> None:
    file = _settings(tmp_path, fresh_database(postgres_server, "replicas"))
    first, second = (Gateway(load(file, {}), "scheduler") for _ in range(2))
    assert (first.replica, second.replica) == (False, True)
    assert {"scheduler", "router", "retention"} <= set(first._checks)
    assert not {"router", "retention"} & set(second._checks)
    for gateway in (first, second):
        gateway.start()
    for gateway in (first, second):
        gateway.stop()
