from __future__ import annotations

from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.web.access import SMALL as MAX_BODY
from tests.support import seed
from tests.web.conftest import Site


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    "path",
    ["/api/nowhere", "/health/x", "/metrics/x", "/api/v1/jobs/" + "0" * 32, "/api/v1/payloads/x",
     "/api/v1/payloads/x/timeline",
     "/api/v1/payloads/x/instances", "/api/v1/results/x", "/api/v1/associations/x",
     "/api/v1/pipelines/x", "/api/v1/quarantine/x", "/api/v1/jobs/x/logs"],
)  # fmt: skip
def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    problem(site.client.get(path), 404)


@pytest.mark.parametrize(
    "query",
    ["cursor=1.000000000~", "cursor=1.000000000~%C3%A9", "cursor=1e9~a", "cursor=~a", "cursor=",
     "cursor=1.000000000~a%0A", "cursor=1.0~a", "limit=0", "limit=1001", "limit=x",
     "cursor=!!", "cursor=e30", "cursor=W10",
     "cursor=WyJ4Iiwge31d", "cursor=bnVsbA", "cursor=" + "A" * 600, "state=" + "x" * 300,
     "cursor=WzFlOTk5LCAieCJd" + "W" * 100],
)  # fmt: skip
def test_bad_parameters_are_422(site: Site, query: str) -> None:
    problem(site.client.get(f"/api/v1/payloads?{query}"), 422)


@pytest.mark.parametrize("cursor", ["9" * 19, "-1", "1.000000000~1", "1_0", "\u0661", "1\n"])
def test_a_forged_cursor_is_422(site: Site, cursor: str) -> None:
    problem(site.client.get("/api/v1/events", params={"cursor": cursor}), 422)


@pytest.mark.parametrize(
    ("path", "cursor"),
    [
        ("events", "9" * 18),
        ("jobs", "999999999999.999999999~a.b-c"),
        ("decisions", "0.000000000~0"),
    ],
)
def test_what_looks_like_a_cursor_is_one(site: Site, path: str, cursor: str) -> None:
    answer = site.client.get(f"/api/v1/{path}", params={"cursor": cursor}).raise_for_status()
    assert answer.json()["next"] is None


def test_a_nul_character_is_422(site: Site) -> None:
    for path in ("/api/v1/jobs/a%00b", "/api/v1/payloads?study=1%002"):
        problem(site.client.get(path), 422)


def test_where_without_a_question_is_422(site: Site) -> None:
    problem(site.client.get("/api/v1/where"), 422)


def test_a_fault_does_not_echo_what_was_given(site: Site) -> None:
    secret = seed.ACCESSION * 30
    answer = site.client.get("/api/v1/payloads", params={"accession": secret})
    problem(answer, 422)
    assert seed.ACCESSION not in answer.text


def test_a_wrong_method_is_405_and_says_which_is_right(site: Site) -> None:
    answer = site.client.delete("/api/v1/jobs")
    assert "GET" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET"
    answer = site.client.put("/api/v1/payloads/x")
    assert "DELETE, GET" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "DELETE, GET"


def test_a_fault_of_ours_is_500_without_its_insides(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE results RENAME TO gone"))
    answer = site.client.get("/api/v1/results")
    assert "log" in problem(answer, 500)["detail"]
    assert "SELECT" not in answer.text
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["a request failed"]
    assert site.client.get("/health/live").status_code == 200


def test_a_large_body_is_413(site: Site) -> None:
    path = "/api/tasks/failure/" + "0" * 32
    problem(site.client.put(path, content=b"x" * (MAX_BODY + 1)), 413)
    chunks = (b" " * 4096 for _ in range(100))
    problem(site.client.put(path, content=chunks), 413)


def test_a_bad_body_is_422(site: Site) -> None:
    path = "/api/tasks/failure/" + site.story.result
    json = {"Content-Type": "application/json"}
    problem(site.client.put(path, content=b"{", headers=json), 422)
    problem(site.client.put(path, json={"RetryLater": "perhaps"}), 422)
    problem(site.client.put(path), 422)


def test_answers_carry_headers_that_keep_a_browser_safe(site: Site) -> None:
    for path in ("/api/v1/docs", "/health", "/api/nowhere"):
        headers = site.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_names_from_records_cannot_become_markup(site: Site) -> None:
    seed.insert(
        site.database, schema.circuits, destination="PACS", state="OPEN", failures=1,
        reason="<script>", changed_at=1.0,
    )  # fmt: skip
    seed.payload(site.database, state="<script>")
    for path in ("/api/v1/overview", "/api/v1/payloads", "/api/v1/destinations", "/health"):
        answer = site.client.get(path)
        assert "<script>" in answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
