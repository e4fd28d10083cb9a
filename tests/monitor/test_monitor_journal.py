from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from gateway.database.schema import new_id
from gateway.events.record import Kind, record
from gateway.events.wake import Wakeups
from gateway.monitor.journal import Journal
from tests.support import seed


def test_every_event_is_logged_once_in_order_whatever_its_fields_are_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = seed.new_database(tmp_path)
    job = new_id()
    with database.begin() as connection:
        record(connection, Kind.CONFIG_CHANGED, data={"state": "before the start"})
    journal = Journal(database, Wakeups())
    with caplog.at_level(logging.INFO, "gateway.events"):
        thread = threading.Thread(target=journal.run)
        thread.start()
        with database.begin() as connection:
            for number, data in enumerate(
                ({"name": "a job", "args": 1, "msg": "x"}, {"message": "m"}, {"status": "FAULTED"})
            ):
                record(connection, Kind.JOB_STOPPED, job_id=job, data={"n": number, **data})
        journal.stop()
        thread.join(10)
    database.close()
    lines = [line for line in caplog.records if line.name == "gateway.events"]
    assert [line.__dict__["n"] for line in lines] == [0, 1, 2]
    assert {line.__dict__["job_id"] for line in lines} == {job}
    assert lines[0].__dict__["event_name"] == "a job"
    assert [line.levelname for line in lines] == ["INFO", "INFO", "WARNING"]
