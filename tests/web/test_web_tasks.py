from __future__ import annotations

import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.database import schema
from tests.support import seed
from tests.web.conftest import Site


@pytest.fixture
def task(site: Site) -> str:
    result = seed.insert(
        site.database, schema.results, correlation_id=site.story.association,
        job_id=site.story.job, attempt=1, agent="Dashboard", parameters='{"size": 3}',
        deliverable=True, state="PENDING", created_at=site.story.started,
    )  # fmt: skip
    seed.insert(
        site.database, schema.result_files, result_id=result, path="operators/w/volume.mhd",
        size=10, state="PENDING",
    )  # fmt: skip
    return result


def pending(site: Site, agent: str, **params: Any) -> Any:
    return site.client.get(f"/api/tasks/{agent}/pending", params=params).raise_for_status().json()


def row(site: Site, task: str) -> Any:
    with site.database.read() as connection:
        query = sa.select(schema.results).where(schema.results.c.id == task)
        return connection.execute(query).one()


def test_a_poller_gets_its_task_once_in_claras_shape(site: Site, task: str) -> None:
    (found,) = pending(site, "DASHBOARD", size=5)
    assert found == {
        "taskId": str(uuid.UUID(task)),
        "jobId": site.story.job,
        "pipelineId": site.story.pipeline,
        "payloadId": found["payloadId"],
        "agent": "Dashboard",
        "parameters": '{"size": 3}',
        "state": "Pending",
        "retries": 0,
        "uris": ["operators/w/volume.mhd"],
    }
    assert pending(site, "Dashboard") == []
    assert pending(site, "ClaraSCU") == []


def test_success_and_failure_are_kept(site: Site, task: str) -> None:
    (found,) = pending(site, "Dashboard")
    body = {"RetryLater": True}
    site.client.put(f"/api/tasks/failure/{found['taskId']}", json=body).raise_for_status()
    assert row(site, task).state == "WAITING"
    site.client.put(f"/api/tasks/success/{found['taskId']}").raise_for_status()
    assert row(site, task).state == "DELIVERED"
    answer = site.client.put(f"/api/tasks/failure/{found['taskId']}", json={"RetryLater": False})
    assert answer.status_code == 409
    assert row(site, task).state == "DELIVERED"


def test_failure_for_good(site: Site, task: str) -> None:
    answer = site.client.put(f"/api/tasks/failure/{task}", json={"RetryLater": False})
    answer.raise_for_status()
    assert row(site, task).state == "FAILED"


def test_unknown_tasks_and_bad_agents(site: Site) -> None:
    assert site.client.put("/api/tasks/success/x").status_code == 404
    assert site.client.put(f"/api/tasks/success/{uuid.uuid4()}").status_code == 404
    assert site.client.get("/api/tasks/9bad/pending").status_code == 422
    assert site.client.get("/api/tasks/bad-/pending").status_code == 422
    assert site.client.get("/api/tasks/good/pending?size=0").status_code == 422
    # The gateway delivers this one itself.
    assert site.client.put(f"/api/tasks/success/{site.story.result}").status_code == 409
