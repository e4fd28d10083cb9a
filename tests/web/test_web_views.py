"""What the console shows, from records: overview, graphs, logs, pipelines, system."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.config.settings import GatewaySettings
from gateway.database import schema
from gateway.web import overview, system
from gateway.web.accounts.roles import Role
from tests.support import seed
from tests.support.console import house
from tests.web.conftest import Site

DEFINITION = """\
api-version: 0.4.0
name: two-steps
operators:
- name: first
  container: {image: none}
  input: [{path: /input}]
  output: [{path: /output}]
- name: second
  container: {image: none}
  input: [{from: first, path: /input}]
"""


def register(site: Site, text: str = DEFINITION) -> dict[str, Any]:
    answer = site.client.post("/api/v1/pipelines", json={"definition": text})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_the_overview_tells_everything_at_a_glance(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "FRESH_SECONDS", 0)
    monkeypatch.setattr(overview, "LEISURE", 0)
    told = site.client.get("/api/v1/overview").json()
    assert told["studies"]["total"] == told["studies"]["last_hour"] == 1
    assert told["studies"]["payloads"] == {"ROUTED": 1}
    assert told["jobs"]["by"] == [
        {"state": "STOPPED", "status": "HEALTHY", "priority": "higher", "count": 1}
    ]
    assert told["results"]["delivered"] == 1
    assert told["attention"] == []
    assert told["machine"]["disk"]["accepts_images"] is True
    assert told["machine"]["cpu"]["cores"] > 0
    assert {part["name"] for part in told["parts"]} >= {"database", "disk"}
    seed.payload(site.database, state="CONFLICT", conflict=True)
    with site.database.begin() as connection:
        connection.execute(sa.update(schema.results).values(state="FAILED"))
        connection.execute(sa.update(schema.jobs).values(status="FAULTED"))
    seed.insert(
        site.database, schema.circuits, destination="PACS", state="OPEN", failures=3,
        reason="no answer", changed_at=1.0, retry_at=2.0,
    )  # fmt: skip
    told = site.client.get("/api/v1/overview").json()
    assert {each["kind"]: each["count"] for each in told["attention"]} == {
        "payload-conflict": 1, "result-failed": 1, "job-failed": 1, "circuit-open": 1,
    }  # fmt: skip
    pacs = next(each for each in told["destinations"] if each["name"] == "PACS")
    assert (pacs["circuit"], pacs["reason"], pacs["failed"]) == ("OPEN", "no answer", 1)


def test_a_jobs_graph_has_states_and_times(site: Site) -> None:
    made = register(site, DEFINITION.replace("first", "Reader"))
    assert made["name"] == "two-steps"
    with site.database.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(pipeline_id=made["id"]))
    told = site.client.get(f"/api/v1/jobs/{site.story.job}/graph").json()
    first, second = told["nodes"]
    assert (first["name"], first["status"], first["level"]) == ("Reader", "COMPLETED", 0)
    assert first["seconds"] == 7.5
    assert (second["name"], second["status"], second["level"]) == ("second", None, 1)
    assert told["edges"] == [
        {"source": None, "target": "Reader", "name": "/input", "kind": "folder"},
        {"source": "Reader", "target": "second", "name": "/input", "kind": "folder"},
    ]


def test_a_log_is_followed_from_where_one_was(site: Site) -> None:
    path = f"/api/v1/jobs/{site.story.job}/operators/READER/log"
    whole = site.client.get(path).json()
    assert whole == {
        "text": "reader begins\nreader is done\n", "next_offset": 29, "attempt": 1, "ended": True,
    }  # fmt: skip
    rest = site.client.get(path, params={"offset": 14}).json()
    assert rest["text"] == "reader is done\n"
    with site.database.begin() as connection:
        connection.execute(sa.update(schema.operators).values(stopped_at=None))
    more = site.client.get(path, params={"offset": rest["next_offset"]}).json()
    assert (more["text"], more["next_offset"], more["ended"]) == ("", 29, False)
    for missing in ("/api/v1/jobs/x/operators/reader/log", path.replace("READER", "nobody")):
        assert site.client.get(missing).status_code == 404
    assert site.client.get(path, params={"attempt": 2}).status_code == 404


def test_versions_their_difference_cards_and_removal(site: Site) -> None:
    register(site)
    assert register(site)["version"] == 1
    second = register(site, DEFINITION.replace("/output", "/result"))
    assert second["version"] == 2
    for name in (second["id"], "TWO-STEPS"):
        path = f"/api/v1/pipelines/{name}/versions"
        found = site.client.get(path)
        if name != "TWO-STEPS":
            versions = [item["version"] for item in found.json()["items"]]
            assert versions == [2, 1]
    params = {"before": 1, "after": 2}
    told = site.client.get("/api/v1/pipelines/two-steps/diff", params=params).json()
    changed = [line for line in told["lines"] if line["kind"] in {"added", "removed"}]
    assert changed == [
        {"kind": "removed", "text": "  output: [{path: /output}]"},
        {"kind": "added", "text": "  output: [{path: /result}]"},
    ]
    params["after"] = 9
    assert site.client.get("/api/v1/pipelines/two-steps/diff", params=params).status_code == 404
    cards = site.client.get("/api/v1/pipeline-cards").json()["items"]
    card = next(each for each in cards if each["name"] == "two-steps")
    assert (card["version"], card["operators"]) == (2, ["first", "second"])
    assert card["last_run"] is None
    # One that this release cannot read hides no other.
    ran = next(each for each in cards if each["name"] == "lung-density")
    assert ran["last_run"]["job_id"] == site.story.job
    assert site.client.delete(f"/api/v1/pipelines/{second['id']}").status_code == 204
    assert site.client.delete("/api/v1/pipelines/nothing").status_code == 404
    assert site.client.get("/api/v1/pipelines/two-steps/graph").status_code == 200


def test_a_definition_is_checked_with_lines_and_nothing_is_kept(site: Site) -> None:
    path = "/api/v1/pipelines/validate"
    good = site.client.post(path, json={"definition": DEFINITION}).json()
    assert (good["valid"], good["name"], good["errors"]) == (True, "two-steps", [])
    assert [node["name"] for node in good["graph"]["nodes"]] == ["first", "second"]
    bad = DEFINITION.replace("from: first", "from: third")
    told = site.client.post(path, json={"definition": bad}).json()
    assert told["valid"] is False
    assert told["errors"][0]["line"] == 10
    assert "third" in told["errors"][0]["message"]
    refused = site.client.post("/api/v1/pipelines", json={"definition": bad})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["line"] == 10
    assert site.client.get("/api/v1/pipelines/two-steps").status_code == 404
    large = DEFINITION + "# " + "x" * 200_000
    assert site.client.post(path, json={"definition": large}).json()["valid"] is True
    too_large = {"definition": "#" * 2_000_000}
    assert site.client.post(path, json=too_large).status_code == 413
    found = site.client.get("/api/v1/schemas/pipeline").json()
    assert "operators" in found["properties"]


def test_lists_are_narrowed_by_time_priority_and_pipeline(site: Site) -> None:
    for path, params, count in (
        ("jobs", {"priority": "higher"}, 1), ("jobs", {"priority": "lower"}, 0),
        ("jobs", {"pipeline": "LUNG-DENSITY"}, 1), ("jobs", {"pipeline": "other"}, 0),
        ("jobs", {"since": "2020-01-01T00:00:00Z"}, 1),
        ("jobs", {"until": "2020-01-01T00:00:00+08:00"}, 0),
        ("payloads", {"since": "2020-01-01T00:00:00Z"}, 1),
        ("payloads", {"until": "2020-01-01T00:00:00Z"}, 0),
        ("associations", {"since": "2020-01-01T00:00:00Z", "state": "released"}, 1),
        ("associations", {"until": "2020-01-01T00:00:00Z"}, 0),
    ):  # fmt: skip
        items = site.client.get(f"/api/v1/{path}", params=params).json()["items"]
        assert len(items) == count, (path, params)
    for bad in ({"since": "yesterday"}, {"since": "2020-01-01T00:00:00"}, {"priority": "now"}):
        assert site.client.get("/api/v1/jobs", params=bad).status_code == 422


def test_the_rules_in_force_with_what_they_did(site: Site) -> None:
    told = site.client.get("/api/v1/rules").json()
    assert told["valid"] is True
    (application,) = told["applications"]
    (rule,) = application["rules"]
    assert (rule["name"], rule["matched"], rule["errors"]) == ("lung density", 1, 0)
    (site.services.data_dir / "ae_config" / "bad.yaml").write_text("applications: 5\n")
    site.services.ae_config.reload()
    told = site.client.get("/api/v1/rules").json()
    assert told["valid"] is False
    assert told["faults"][0]["line"] == 1
    assert len(told["applications"]) == 1


def test_settings_are_for_administrators_and_without_secrets(site: Site) -> None:
    settings = GatewaySettings.model_validate({
        "database": {"url": "postgresql+psycopg://gateway:QQSECRETQQ@db/gateway"},
        "mqtt": {"url": "mqtt://me:QQSECRETQQ@broker"},
        "images": {"a": {"command": ["x"], "env": {"KEY": "QQSECRETQQ"}}},
        "grpc": {"tokens": [{"name": "a", "sha256": "ab" * 32}]},
    })  # fmt: skip
    with house(replace(site.services, settings=settings)) as made:
        made.user("mei")
        with made.script(Role.ADMINISTRATOR, "a") as administrator:
            answer = administrator.get("/api/v1/system")
            assert "QQSECRETQQ" not in answer.text
            assert "abababab" not in answer.text
            told = answer.json()["settings"]
            assert told["mqtt"]["url"] == "mqtt://me:***@broker"
            assert told["images"]["a"]["env"] == {"KEY": "***"}
            assert told["http"]["sessions"]["idle-minutes"] == 30
        with made.script(Role.OPERATOR, "b") as operator:
            told = operator.get("/api/v1/system").json()
            assert told["settings"] is None
            assert {"database", "machine"} <= {check["name"] for check in told["checks"]}


def test_components_have_versions_and_licences() -> None:
    found = {each["name"].lower(): each for each in system.components()}
    assert found["fastapi"]["licence"] == "MIT"
    assert found["pydicom"]["version"]
    without = [name for name, each in found.items() if each["licence"] is None]
    assert len(without) < len(found) / 4
