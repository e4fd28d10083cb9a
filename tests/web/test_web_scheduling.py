"""The queue over REST and the command line: pause, drain, resume, priority, a rerun's beginning."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import sqlalchemy as sa

from gateway.database import schema
from tests.support import seed
from tests.web.conftest import Site


def _pipeline(site: Site) -> str:
    with site.database.read() as connection:
        return str(connection.execute(sa.select(schema.pipelines.c.name)).scalars().first())


def _waiting(site: Site) -> str:
    """A job that waits: like the story's, of no payload."""
    with site.database.read() as connection:
        row = connection.execute(sa.select(schema.jobs)).mappings().first()
    values = dict(row or {}) | {
        "id": schema.new_id(), "payload_id": schema.new_id(), "received_payload_id": None,
        "revision": None, "rule": None, "state": "PENDING", "status": "HEALTHY", "priority": 2,
        "stopped_at": None, "started_at": None,
    }  # fmt: skip
    return str(seed.insert(site.database, schema.jobs, **values))


def test_pause_drain_and_resume(site: Site) -> None:
    def post(path: str, **query: str) -> Any:
        return site.client.post(f"/api/v1/scheduler/{path}", params=query)

    _waiting(site)
    assert post("pause").json()["mode"] == "PAUSED"
    found = site.client.get("/api/v1/scheduler").json()
    assert (found["mode"], found["waiting"], found["running"]) == ("PAUSED", 1, 0)
    assert post("drain").json()["mode"] == "DRAINING"
    name = _pipeline(site)
    held = post("pause", pipeline=name)
    assert held.status_code == 200, held.text
    assert held.json()["pipelines"][0]["pipeline"] == name
    assert post("resume").json()["mode"] == "RUNNING"
    assert post("resume", pipeline=name).json()["pipelines"] == []
    refused = post("resume", pipeline=name)
    assert refused.status_code == 409
    assert "neither paused nor draining" in refused.json()["detail"]
    assert post("pause", pipeline="none").status_code == 409
    events = site.client.get("/api/v1/events", params={"limit": 20}).json()["items"]
    told = [event["kind"] for event in events if event["kind"].startswith("scheduling/")]
    assert len(told) == 5


def test_priority_and_rerun_from(site: Site) -> None:
    job = _waiting(site)
    found = site.client.post(f"/api/v1/jobs/{job}/prioritise", params={"priority": "immediate"})
    assert found.status_code == 200
    with site.database.read() as connection:
        query = sa.select(schema.jobs.c.priority).where(schema.jobs.c.id == job)
        assert connection.execute(query).scalar() == 4
    bad = site.client.post(f"/api/v1/jobs/{job}/prioritise", params={"priority": "urgent"})
    assert bad.status_code == 422
    again = site.client.post(f"/api/v1/jobs/{job}/rerun", params={"operator": "reader"})
    assert again.status_code == 409, again.text
    missing = site.client.post("/api/v1/jobs/none/prioritise", params={"priority": "lower"})
    assert missing.status_code == 404


def test_the_same_by_the_command_line(site: Site) -> None:
    def gateway(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway.cli", "--url", str(site.client.base_url), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    job = _waiting(site)
    paused = gateway("pause", "scheduler")
    assert paused.stdout == "scheduler PAUSED: 1 jobs wait, 0 run\n", paused.stderr
    name = _pipeline(site)
    assert f"pipeline {name} DRAINING" in gateway("drain", "pipeline", name).stdout
    assert gateway("resume", "scheduler").returncode == 0
    done = gateway("prioritise", "job", job, "higher")
    assert done.stdout == "the job waits with priority higher\n", done.stderr
    refused = gateway("rerun", "job", job, "--from", "reader")
    assert refused.returncode == 1
    assert "knows no rerun" in refused.stderr
