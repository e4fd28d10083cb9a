from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.job_payload import JobPayload


@pytest.fixture
def house(tmp_path: Path) -> Iterator[JobPayload]:
    payload = JobPayload(tmp_path / "data")
    yield payload
    payload.close()
