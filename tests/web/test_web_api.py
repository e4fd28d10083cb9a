from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.database.schema import new_id
from gateway.events.record import Kind, record
from gateway.platform import records
from gateway.web.records import shown
from tests.support import seed
from tests.web.conftest import Site


def get(site: Site, path: str, **params: Any) -> Any:
    return site.client.get(path, params=params).raise_for_status().json()


def test_a_payload_is_described_with_everything_around_it(site: Site) -> None:
    found = get(site, f"/api/v1/payloads/{site.story.payload}")
    assert found["state"] == "ROUTED"
    assert found["revisions"][0]["reason"] == "quiet"
    assert found["series"] == [
        {"series_instance_uid": seed.SERIES, "modality": "CT", "instances": 3}
    ]
    assert found["associations"][0]["id"] == site.story.association
    assert found["jobs"][0]["id"] == site.story.job
    assert found["decisions"][0]["values"]["slope"] == 2.5
    assert found["opened_at"].endswith("Z")


def test_numbers_that_json_lacks_are_shown_by_name() -> None:
    given = {"slope": float("inf"), "list": [float("nan"), 1.5], "text": "x"}
    assert shown({"values": given}) == {
        "values": {"slope": "inf", "list": ["nan", 1.5], "text": "x"}
    }


def test_a_job_says_why_it_started_and_how_its_operators_went(site: Site) -> None:
    found = get(site, f"/api/v1/jobs/{site.story.job}")
    assert (found["state"], found["status"], found["priority"]) == ("STOPPED", "HEALTHY", "higher")
    assert found["pipeline"]["name"] == "lung-density"
    assert "'lung density' of LUNG_CT matched revision 1" in found["why"]
    assert "quiet" in found["why"]
    assert found["decision"]["outcome"] == "MATCHED"
    assert [o["name"] for o in found["operators"]] == ["reader", "density"]
    assert found["operators"][0]["seconds"] == pytest.approx(7.5)
    assert found["operators"][1]["tail"] == "density is done\n"
    assert found["results"][0]["state"] == "DELIVERED"


def test_a_result_shows_each_file(site: Site) -> None:
    found = get(site, f"/api/v1/results/{site.story.result}")
    assert found["files"][0]["state"] == "SENT"
    assert found["files"][0]["status"] == 0


def test_the_timeline_tells_the_whole_story_in_order(site: Site) -> None:
    items = get(site, f"/api/v1/payloads/{site.story.payload}/timeline")["items"]
    kinds = [item["kind"] for item in items]
    assert kinds == [
        "association/opened", "payload/received", "association/closed", "payload/completed",
        "rule/matched", "job/created", "job/started", "operator/started", "operator/stopped",
        "operator/started", "operator/stopped", "result/registered", "job/stopped",
        "result/delivered", "result/waiting",
    ]  # fmt: skip
    assert [item["time"] for item in items] == sorted(item["time"] for item in items)
    texts = "\n".join(item["text"] for item in items)
    assert "complete (quiet): 30 instances" in texts
    assert "delivered to PACS: 1 files" in texts
    assert "30 instances kept, 2 ignored" in texts
    assert not [secret for secret in seed.SECRETS if secret in texts]


def test_the_timeline_tells_a_deleted_job_payload_from_a_deleted_study(site: Site) -> None:
    with site.database.begin() as connection:
        job = connection.execute(sa.select(schema.jobs)).one()
        records.mark_deleted(connection, job.payload_id)
    items = get(site, f"/api/v1/payloads/{site.story.payload}/timeline")["items"]
    (told,) = (item for item in items if item["kind"] == "payload/deleted")
    assert told["text"] == "the files of a job deleted (by a person)"
    assert told["job_id"] == site.story.job


def test_the_timeline_tells_what_a_job_notes_about_its_definition(site: Site) -> None:
    note = "the definition asks for Argo (orchestrator Argo); it runs on the process executor"
    with site.database.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(notes=[note]))
    assert get(site, "/api/v1/jobs")["items"][0]["notes"] == [note]
    items = get(site, f"/api/v1/payloads/{site.story.payload}/timeline")["items"]
    at = [item["kind"] for item in items].index("job/started")
    assert (items[at + 1]["kind"], items[at + 1]["text"]) == ("job/note", note)
    assert items[at + 1]["job_id"] == site.story.job


@pytest.mark.parametrize(
    "path",
    ["payloads", "jobs", "results", "associations", "events", "decisions", "quarantine",
     "pipelines", "destinations", "sources", "applications"],
)  # fmt: skip
def test_every_list_has_items_and_next(site: Site, path: str) -> None:
    found = get(site, f"/api/v1/{path}")
    assert set(found) == {"items", "next"}
    assert found["next"] is None
    assert bool(found["items"]) == (path != "quarantine")
    for item in found["items"]:
        assert all(key == key.lower() and "-" not in key for key in item)


def test_pages_show_every_item_once_while_new_ones_arrive(site: Site) -> None:
    # Several with one and the same time: the key must break the tie.
    wanted = {seed.association(site.database, opened_at=1000.0 + n // 3) for n in range(10)}
    seen: list[str] = []
    cursor = None
    while True:
        body = get(site, "/api/v1/associations", limit=3, **({"cursor": cursor} if cursor else {}))
        assert len(body["items"]) <= 3
        seen += [item["id"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
        seed.association(site.database, opened_at=time.time())
    assert len(seen) == len(set(seen))
    assert wanted <= set(seen)
    assert site.story.association in seen


def test_filters(site: Site) -> None:
    other = seed.payload(
        site.database, state="CONFLICT", study_instance_uid="1.9", accession_number="A9",
        called_ae="MR",
    )  # fmt: skip
    mine = site.story.payload

    def ids(**params: str) -> set[str]:
        return {item["id"] for item in get(site, "/api/v1/payloads", **params)["items"]}

    assert ids() == {mine, other}
    assert ids(study=seed.STUDY) == {mine}
    assert ids(accession="A9") == {other}
    assert ids(state="conflict") == {other}
    assert ids(called_ae="MR") == {other}
    assert ids(job=site.story.job) == {mine}
    assert ids(association=site.story.association) == {mine}
    assert ids(study="1.9", state="ROUTED") == set()
    jobs = get(site, "/api/v1/jobs", payload=mine, status="healthy")["items"]
    assert [job["id"] for job in jobs] == [site.story.job]
    assert get(site, "/api/v1/results", destination="ELSEWHERE")["items"] == []
    kinds = {e["kind"] for e in get(site, "/api/v1/events", kind="job/created")["items"]}
    assert kinds == {"job/created"}


def test_a_study_within_a_payload_grouped_by_patient_is_found(site: Site) -> None:
    with site.database.begin() as connection:
        connection.execute(
            sa.update(schema.payloads).values(study_instance_uid="1.0", accession_number="")
        )
    found = get(site, "/api/v1/payloads", study=seed.STUDY)["items"]
    assert [item["id"] for item in found] == [site.story.payload]
    found = get(site, "/api/v1/payloads", accession=seed.ACCESSION)["items"]
    assert [item["id"] for item in found] == [site.story.payload]


def test_instances_of_a_payload(site: Site) -> None:
    found = get(site, f"/api/v1/payloads/{site.story.payload}/instances", series=seed.SERIES)
    assert len(found["items"]) == 3
    assert found["items"][0]["transfer_syntax_uid"] == "1.2.840.10008.1.2.1"
    with site.database.begin() as connection:
        connection.execute(
            sa.update(schema.payload_instances).where(schema.payload_instances.c.instance_id == 1)
            .values(removed=2)
        )  # fmt: skip
    found = get(site, f"/api/v1/payloads/{site.story.payload}/instances")
    assert len(found["items"]) == 2


def test_where_is_my_study_tells_the_story(site: Site) -> None:
    for params in ({"study": seed.STUDY}, {"accession": seed.ACCESSION}):
        found = get(site, "/api/v1/where", **params)
        assert found["found"]
        assert found["payloads"][0]["id"] == site.story.payload
        assert len(found["payloads"][0]["timeline"]) == 15
        assert found["notes"] == []


def test_where_is_an_unknown_study_tells_what_was_turned_away(site: Site) -> None:
    reason = "called AE title not recognised"
    for _ in range(3):
        seed.association(
            site.database, state="REJECTED", calling_ae="CT9", called_ae="LUNGS", reason=reason
        )
    held = seed.payload(site.database, state="QUARANTINED", study_instance_uid="")
    seed.insert(
        site.database, schema.quarantine, payload_id=held, association_id=new_id(),
        called_ae="LUNG_CT", calling_ae="CT8", host="10.1.0.8", sop_class_uid="1",
        sop_instance_uid="2", transfer_syntax_uid="3", path="q/1", size=10,
        reason="no Study Instance UID", received_at=time.time(),
    )  # fmt: skip
    found = get(site, "/api/v1/where", study="1.2.3.4.5")
    assert not found["found"]
    notes = "\n".join(found["notes"])
    assert "3 associations rejected: CT9 (10.1.0.4) to LUNGS: " + reason in notes
    assert "1 data sets in quarantine from CT8 (10.1.0.8) to LUNG_CT: no Study" in notes
    assert "2 instances answered Success and not kept" in notes


def test_where_names_what_holds_a_payload_back_and_what_came_back(site: Site) -> None:
    with site.database.begin() as connection:
        connection.execute(sa.update(schema.payloads).values(state="UNMATCHED"))
        connection.execute(
            sa.update(schema.instances).where(schema.instances.c.id == 1).values(kind="RETURNED")
        )
        record(connection, Kind.PAYLOAD_UNMATCHED, payload_id=site.story.payload)
    found = get(site, "/api/v1/where", study=seed.STUDY)
    notes = "\n".join(found["notes"])
    assert "no rule matched" in notes
    assert "1 instances that the gateway had delivered came back from CT1 (10.1.0.4)" in notes
    assert "payload/unmatched" in {e["kind"] for e in found["payloads"][0]["timeline"]}


def test_destinations_show_their_circuit(site: Site) -> None:
    seed.insert(
        site.database, schema.circuits, destination="PACS", state="OPEN", failures=5,
        reason="no answer", changed_at=1.0, retry_at=2.0,
    )  # fmt: skip
    pacs, folder = get(site, "/api/v1/destinations")["items"]
    assert pacs["circuit"]["state"] == "OPEN"
    assert pacs["circuit"]["retry_at"] == "1970-01-01T00:00:02.000Z"
    assert folder["circuit"] is None


def test_logs_of_all_operators_or_one(site: Site) -> None:
    path = f"/api/v1/jobs/{site.story.job}/logs"
    answer = site.client.get(path)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.index("==> reader <==") < answer.text.index("density is done")
    assert site.client.get(path, params={"operator": "READER", "size": 8}).text == "is done\n"
    assert site.client.get(path, params={"operator": "nobody"}).status_code == 404


def test_a_log_is_read_on_from_where_one_stopped(site: Site) -> None:
    path = f"/api/v1/jobs/{site.story.job}/logs?operator=density"
    whole = site.client.get(path).text
    assert site.client.get(f"{path}&offset=8").text == whole[8:]
    assert site.client.get(f"{path}&offset=8&size=6").text == whole[8:14]
    assert site.client.get(f"{path}&offset=9999").text == ""
    assert site.client.get(f"{path}&offset=-1").status_code == 422


def test_a_log_path_that_leads_out_of_the_data_folder_is_not_read(site: Site) -> None:
    (site.services.data_dir / "link").symlink_to("/etc/passwd")
    for path in ("../../../../../../etc/passwd", "/etc/passwd", "link"):
        with site.database.begin() as connection:
            connection.execute(sa.update(schema.operators).values(log=path))
        text = site.client.get(f"/api/v1/jobs/{site.story.job}/logs").text
        assert text == "==> reader <==\n==> density <==\n"


@pytest.mark.parametrize(
    ("path", "which"),
    [
        ("jobs/{}/cancel", "job"),
        ("jobs/{}/rerun", "job"),
        ("results/{}/retry", "result"),
        ("payloads/{}/reroute", "payload"),
    ],
)
def test_actions_reach_the_room_and_answer_with_the_record(
    site: Site, path: str, which: str
) -> None:
    identifier = getattr(site.story, which)
    answer = site.client.post("/api/v1/" + path.format(identifier)).raise_for_status()
    assert answer.json()["id"] == identifier
    assert site.acted == [identifier]
    assert site.client.post("/api/v1/" + path.format(new_id())).status_code == 404
    assert site.acted == [identifier]


def test_deleting_a_payload(site: Site) -> None:
    site.client.delete(f"/api/v1/payloads/{site.story.payload}").raise_for_status()
    assert site.acted == [site.story.payload]


def test_a_refused_action_is_a_conflict_with_its_sentence(site: Site) -> None:
    answer = site.client.post(f"/api/v1/payloads/{site.story.payload}/release")
    assert answer.status_code == 409
    assert answer.json()["detail"].endswith("is not in CONFLICT")


def test_an_action_asked_for_by_a_foreign_page_is_forbidden(site: Site) -> None:
    path = f"/api/v1/jobs/{site.story.job}/cancel"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert site.client.post(path, headers=headers).status_code == 403
    assert site.acted == []
    own = f"http://{httpx.URL(str(site.client.base_url)).netloc.decode()}"
    assert site.client.post(path, headers={"Origin": own}).status_code == 200
