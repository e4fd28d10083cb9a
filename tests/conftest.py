"""What every test may use."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# tests/support is imported as a package from the checkout, wherever pytest was started.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real DICOM beside the checkout; skips when it is not there."""
    folder = Path(os.environ.get("GATEWAY_TEST_DATA", ROOT.parent / "shared" / "data" / "dicom"))
    if not folder.is_dir():
        reason = f"no real DICOM at {folder}: set GATEWAY_TEST_DATA"
        if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running PostgreSQL."""
    from tests.support.postgres import running_postgres

    with running_postgres() as url:
        yield url


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database: SQLite, or PostgreSQL with GATEWAY_TEST_DATABASE=postgresql."""
    if os.environ.get("GATEWAY_TEST_DATABASE", "sqlite") == "postgresql":
        from tests.support.postgres import fresh_database

        server = request.getfixturevalue("postgres_server")
        return fresh_database(server, f"t{uuid.uuid4().hex}")
    return f"sqlite+pysqlite:///{tmp_path / 'gateway.db'}"
