from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from gateway.monitor.logging import configure
from tests.support import seed
from tests.web.conftest import Site


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure("json", logging.DEBUG, stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_no_patient_data_in_logs_metrics_health_or_the_status_page(
    site: Site, written: io.StringIO
) -> None:
    params = {"accession": seed.ACCESSION}
    for path in ("/api/v1/payloads", "/api/v1/where"):
        assert seed.ACCESSION in site.client.get(path, params=params).raise_for_status().text
    shown = [site.client.get(path).text for path in ("/metrics", "/health")]
    with site.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE payloads RENAME TO gone"))
    # The statement that fails holds the accession number as a bound value.
    assert site.client.get("/api/v1/payloads", params=params).status_code == 500
    assert "a request failed" in written.getvalue()
    assert "OperationalError" in written.getvalue() or "UndefinedTable" in written.getvalue()
    for text in (written.getvalue(), *shown):
        assert not [secret for secret in seed.SECRETS if secret in text]
