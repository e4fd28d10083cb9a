"""What every test may use."""

from __future__ import annotations

import os
import sys
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


@pytest.fixture(scope="session", autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """With GATEWAY_TEST_DATABASE=postgresql every database of a test stands on PostgreSQL."""
    from tests.support import databases

    if not databases.wanted():
        yield
        return
    with databases.serving(request.getfixturevalue("postgres_server")):
        yield


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """An empty database: SQLite, or PostgreSQL with GATEWAY_TEST_DATABASE=postgresql."""
    from tests.support import databases

    return databases.database_url(tmp_path)
