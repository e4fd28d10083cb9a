"""The router over a real database: decisions, jobs, revisions, and what a person may do."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.database.schema import decisions, jobs, payload_instances, payload_series, payloads
from gateway.errors import Refused, Transient
from gateway.jobs.creation import NewJob
from gateway.routing import router as router_module
from gateway.routing.engine import Engine
from gateway.routing.router import DISCARDED, reroute

CT: dict[str, Any] = {"Modality": "CT", "instances": 30, "SliceThickness": 1.0}
SR: dict[str, Any] = {"Modality": "SR", "instances": 1}

AXIAL = [1, 0, 0, 0, 1, 0]


def rule(name: str = "density", **keys: Any) -> dict[str, Any]:
    return {"name": name, "pipeline": "lung-density"} | keys


CT_RULE = rule(
    when='series.exists(s, s.Modality == "CT" && s.instances >= 20)',
    select='s.Modality == "CT"',
    variables={},
    priority="higher",
)


def test_a_matching_rule_makes_one_decision_and_one_job(world: Any) -> None:
    world.rules(CT_RULE)
    payload_id = world.payload({"1.1": CT, "1.2": SR})
    assert world.router.route_ready() == 1
    row = world.row(payload_id)
    assert (row.state, row.routed_at is not None) == ("ROUTED", True)
    (decision,) = world.decisions()
    (job,) = world.jobs()
    assert (decision.outcome, decision.rule, decision.revision) == ("MATCHED", "density", 1)
    assert decision.job_id == job.id
    assert decision.selected == job.selected == ["1.1"]
    assert decision.selection_digest == job.selection_digest
    assert decision.config_version == "c" * 64
    assert decision.expressions == {"when": CT_RULE["when"], "select": CT_RULE["select"]}
    assert decision.values["when"] == [True, None]
    assert decision.values["series"][1]["attributes"] == {"Modality": "SR", "instances": 1}
    assert (job.received_payload_id, job.revision, job.rule) == (payload_id, 1, "density")
    assert (job.priority, job.state, job.correlation_id) == (3, "PENDING", row.correlation_id)
    (event,) = [e for e in world.events() if e.kind == "payload/routed"]
    assert event.data["rules"] == [{"rule": "density", "outcome": "MATCHED", "job_id": job.id}]
    assert world.router.route_ready() == 0


def test_every_rule_is_decided_and_every_match_runs(world: Any) -> None:
    world.rules(
        CT_RULE,
        rule("never", when='called == "OTHER"'),
        rule("bad", when="series[0].KVP < 100.0"),
        rule("all"),
    )
    world.payload({"1.1": CT, "1.2": SR})
    world.router.route_ready()
    assert [d.outcome for d in world.decisions()] == ["MATCHED", "NOT_MATCHED", "ERROR", "MATCHED"]
    assert [job.selected for job in world.jobs()] == [["1.1"], ["1.1", "1.2"]]
    bad = world.decisions()[2]
    assert bad.error is not None
    assert "No such overload" in bad.error
    assert bad.job_id is None


def test_no_patient_data_in_the_event(world: Any) -> None:
    world.rules(rule(when='study.PatientName == "QQNAMEQQ"'))
    world.payload({"1.1": CT | {"PatientName": "QQNAMEQQ"}})
    world.router.route_ready()
    assert [d.outcome for d in world.decisions()] == ["MATCHED"]
    assert "QQNAMEQQ" not in json.dumps([dict(e.data) for e in world.events()])


@pytest.mark.parametrize(
    ("otherwise", "discard"), [("keep", False), ("discard", True)]
)  # fmt: skip
def test_without_a_match_the_payload_is_unmatched(
    world: Any, otherwise: str, discard: bool
) -> None:
    world.rules(rule(when="false"), otherwise=otherwise)
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    row = world.row(payload_id)
    assert (row.state, row.discard) == ("UNMATCHED", discard)
    assert (row.reason == DISCARDED) is discard
    assert [(d.rule, d.outcome) for d in world.decisions()] == [
        ("density", "NOT_MATCHED"), (None, "NOT_MATCHED"),
    ]  # fmt: skip
    assert [e.kind for e in world.events()] == ["payload/unmatched"]
    assert world.jobs() == []


def test_a_rule_that_errs_never_discards_images(world: Any) -> None:
    world.rules(rule(when="study.KVP < 1.0"), otherwise="discard")
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    row = world.row(payload_id)
    assert (row.state, row.discard) == ("UNMATCHED", False)
    assert "error" in row.reason


def test_an_application_that_vanished_leaves_the_payload_unmatched(world: Any) -> None:
    payload_id = world.payload({"1.1": CT}, called_ae="GONE")
    world.router.route_ready()
    row = world.row(payload_id)
    assert (row.state, row.discard) == ("UNMATCHED", False)
    assert "GONE" in row.reason


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"pipeline": "unknown"}, "there is no pipeline 'unknown'"),
        ({"variables": {"NO_SUCH": 1}}, "NO_SUCH"),
    ],
)
def test_a_job_that_cannot_be_made_is_an_error_and_the_others_go_on(
    world: Any, keys: dict[str, Any], reason: str
) -> None:
    world.rules(rule("bad", **keys), rule("good"))
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    bad, good = world.decisions()
    assert (bad.outcome, good.outcome) == ("ERROR", "MATCHED")
    assert reason in bad.error
    assert [job.rule for job in world.jobs()] == ["good"]
    assert world.row(payload_id).state == "ROUTED"


def test_what_a_failed_creation_wrote_is_undone(world: Any) -> None:
    def half(connection: Any, new: NewJob) -> str:
        world.creation.create(connection, new)
        raise Refused("changed its mind")

    world.rules(rule("half"))
    world.payload({"1.1": CT})
    world.new_router(half).route_ready()
    assert world.jobs() == []
    assert "changed its mind" in world.decisions()[0].error


def test_a_passing_fault_is_tried_again_and_holds_nobody_up(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "BACK_OFF_SECONDS", (1000.0, 2000.0))
    calls = []

    def weak(connection: Any, new: NewJob) -> str:
        calls.append(new.received_payload_id)
        if calls.count(first) < 2 and new.received_payload_id == first:
            raise Transient("the disk is busy")
        return str(world.creation.create(connection, new))

    world.rules(rule())
    first = world.payload({"1.1": CT}, completed_at=1.0)
    second = world.payload({"2.1": CT}, completed_at=2.0)
    router = world.new_router(weak)
    assert router.route_ready() == 1
    assert (world.row(first).state, world.row(second).state) == ("COMPLETE", "ROUTED")
    assert router.route_ready() == 0  # it waits
    assert 0 < router._not_before[first] - time.monotonic() <= 1000
    router._not_before[first] = 0.0  # its time has come
    assert router.route_ready() == 1
    assert world.row(first).state == "ROUTED"


# -- revisions -----------------------------------------------------------------------------------


def test_a_revision_that_changes_the_selection_supersedes_the_queued_job(world: Any) -> None:
    world.rules(CT_RULE)
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    world.late(payload_id, {"1.1": {"instances": 1}})
    world.router.route_ready()
    old, new = world.jobs()
    assert (old.state, old.status) == ("STOPPED", "CANCELED")
    assert "superseded" in old.reason
    assert (new.state, new.revision) == ("PENDING", 2)
    assert [d.outcome for d in world.decisions()] == ["MATCHED", "MATCHED"]
    assert old.selection_digest != new.selection_digest


def test_a_running_job_is_not_superseded(world: Any) -> None:
    world.rules(CT_RULE)
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    with world.database.begin() as connection:
        connection.execute(sa.update(jobs).values(state="RUNNING", attempt=1, started_at=1.0))
    world.late(payload_id, {"1.1": {"instances": 1}})
    world.router.route_ready()
    assert [(job.state, job.cancel_requested) for job in world.jobs()] == [
        ("RUNNING", None), ("PENDING", None),
    ]  # fmt: skip


def test_a_revision_with_the_same_selection_starts_no_job(world: Any) -> None:
    world.rules(CT_RULE)
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    for number in (2, 3):
        world.late(payload_id, {f"1.{number}": SR})
        world.router.route_ready()
        assert world.row(payload_id).state == "ROUTED"
    assert [d.outcome for d in world.decisions()] == ["MATCHED", "UNCHANGED", "UNCHANGED"]
    assert len(world.jobs()) == 1
    assert world.jobs()[0].state == "PENDING"
    world.late(payload_id, {"1.1": {"instances": 1}})
    world.router.route_ready()
    assert [d.outcome for d in world.decisions()][3:] == ["MATCHED"]


def test_an_error_before_does_not_count_as_the_last_job(world: Any) -> None:
    world.rules(rule(pipeline="unknown"))
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    world.rules(rule())
    world.late(payload_id, {})
    world.router.route_ready()
    assert [d.outcome for d in world.decisions() if d.rule] == ["ERROR", "MATCHED"]


def test_a_replaced_instance_is_not_counted_and_changes_the_selection(world: Any) -> None:
    world.rules(rule(when="study.instances == 30"))
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    with world.database.begin() as connection:
        lowest = connection.execute(sa.select(sa.func.min(payload_instances.c.instance_id)))
        connection.execute(
            sa.update(payload_instances)
            .where(payload_instances.c.instance_id == lowest.scalar_one())
            .values(removed=2)
        )
    world.late(payload_id, {"1.1": {"instances": 1}})
    world.router.route_ready()
    assert [d.outcome for d in world.decisions()] == ["MATCHED", "MATCHED"]


def test_a_late_image_during_the_evaluation_leaves_the_payload_to_the_next_round(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rules(rule())
    payload_id = world.payload({"1.1": CT})

    def late(name: str) -> None:
        if name == "routing.decide.before":
            with world.database.begin() as connection:
                connection.execute(sa.update(payloads).values(state="RECEIVING", revision=2))

    monkeypatch.setattr(router_module, "point", late)
    assert world.router.route_ready() == 0
    assert (world.decisions(), world.jobs()) == ([], [])
    assert world.row(payload_id).state == "RECEIVING"


def test_a_payload_in_conflict_starts_nothing_until_released(world: Any) -> None:
    world.rules(rule())
    payload_id = world.payload({"1.1": CT}, conflict=True)
    assert world.router.route_ready() == 0
    with world.database.begin() as connection:
        connection.execute(sa.update(payloads).values(conflict_released=True))
    assert world.router.route_ready() == 1
    assert world.row(payload_id).state == "ROUTED"


# -- a person's button ---------------------------------------------------------------------------


def test_reroute_judges_by_the_rules_now_in_force(world: Any) -> None:
    world.rules(rule("a", when="false"), otherwise="discard")
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    world.rules(rule("a"))
    reroute(world.database, world.wakeups, payload_id)
    row = world.row(payload_id)
    assert (row.state, row.discard) == ("COMPLETE", False)
    assert world.router.route_ready() == 1
    assert [(d.rule, d.outcome) for d in world.decisions()] == [("a", "MATCHED")]


def test_reroute_makes_no_second_job(world: Any) -> None:
    world.rules(rule("a"), rule("b", when="false"))
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    (job,) = world.jobs()
    world.rules(rule("a", when="false"), rule("b"))
    reroute(world.database, world.wakeups, payload_id)
    world.router.route_ready()
    assert {(d.rule, d.outcome) for d in world.decisions()} == {("a", "MATCHED"), ("b", "MATCHED")}
    assert [(j.rule, j.state) for j in world.jobs() if j.id == job.id] == [("a", "PENDING")]
    assert len(world.jobs()) == 2


@pytest.mark.parametrize("state", ["RECEIVING", "CONFLICT", "QUARANTINED", "DELETED"])
def test_reroute_is_refused_in_other_states(world: Any, state: str) -> None:
    payload_id = world.payload({"1.1": CT}, state=state)
    with pytest.raises(Refused, match=state):
        reroute(world.database, world.wakeups, payload_id)
    with pytest.raises(Refused, match="no payload"):
        reroute(world.database, world.wakeups, "0" * 32)


# -- the records behind the context --------------------------------------------------------------


def test_types_come_back_from_the_records(world: Any) -> None:
    attributes = CT | {"Rows": 512, "SliceThickness": 2.0, "PixelSpacing": [0.5, 1.0]}
    world.rules(
        rule(
            when="type(series[0].Rows) == int && type(series[0].SliceThickness) == double "
            "&& type(series[0].PixelSpacing[1]) == double && series[0].KVP == null "
            '&& study.modalities == ["CT"] && series[1].Rows == null'
        )
    )
    world.payload({"1.1": attributes, "1.2": {}})
    with world.database.begin() as connection:
        connection.execute(
            sa.update(payload_series)
            .where(payload_series.c.series_instance_uid == "1.2")
            .values(attributes=None)
        )
    world.router.route_ready()
    (decision,) = world.decisions()
    assert (decision.outcome, decision.error) == ("MATCHED", None)


def test_spacing_and_orientation_come_from_all_instances(world: Any) -> None:
    geometries = [
        {"position": [0, 0, z], "orientation": AXIAL, "spacing": [0.5, 0.5]} for z in (4.0, 0, 2)
    ]
    world.rules(
        rule(select='s.orientation == "axial" && s.spacing == [0.5, 0.5, 2.0]'),
    )
    world.payload({"1.1": {"instances": 3, "geometries": geometries}, "1.2": SR})
    world.router.route_ready()
    assert world.decisions()[0].selected == ["1.1"]


def test_the_deadline_is_a_decision_and_the_payload_goes_on(world: Any) -> None:
    numbers = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    text = "true"
    for name in "abcdefghijk":
        text = f"{numbers}.all({name}, {text})"
    world.rules(rule("heavy", when=text), rule("light"))
    payload_id = world.payload({"1.1": CT})
    with Engine(seconds=0.6) as engine:
        world.engine = engine
        assert world.new_router().route_ready() == 1
    heavy, light = world.decisions()
    assert (heavy.outcome, light.outcome) == ("ERROR", "MATCHED")
    assert heavy.error.startswith("deadline")
    assert world.row(payload_id).state == "ROUTED"


def test_the_worker_routes_when_woken_and_stops(world: Any) -> None:
    from gateway.events.wake import Topic

    world.rules(rule())
    thread = threading.Thread(target=world.router.run)
    thread.start()
    payload_id = world.payload({"1.1": CT})
    world.wakeups.notify(Topic.ROUTING)
    limit = time.monotonic() + 20
    while world.row(payload_id).state != "ROUTED" and time.monotonic() < limit:
        time.sleep(0.02)
    world.router.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert world.row(payload_id).state == "ROUTED"
    assert world.wakeups.wait(Topic.JOBS, 0)


def test_decisions_of_one_revision_are_unique(world: Any) -> None:
    world.rules(rule())
    payload_id = world.payload({"1.1": CT})
    world.router.route_ready()
    with world.database.begin() as connection:
        connection.execute(sa.update(payloads).values(state="COMPLETE"))
    world.router.route_ready()
    with world.database.read() as connection:
        count = sa.select(sa.func.count()).where(decisions.c.payload_id == payload_id)
        assert connection.execute(count).scalar() == 1
    assert len(world.jobs()) == 1
