from __future__ import annotations

import re
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.database import schema
from gateway.monitor import collector
from gateway.monitor.health import Condition, Part
from gateway.web.application import create_app
from gateway.web.server import HttpError, HttpServer
from tests.support import seed
from tests.web.conftest import Site


def samples(site: Site) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = site.client.get("/metrics").raise_for_status().text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_what_the_records_say(site: Site) -> None:
    seed.association(site.database, state="REJECTED", called_ae="<stranger>", instances=0)
    seed.insert(
        site.database, schema.decisions, payload_id=site.story.payload, revision=2,
        rule="lung density", config_version="0", outcome="ERROR", expressions={}, values={},
        selected=[], elapsed_ms=1, decided_at=1.0,
    )  # fmt: skip
    seed.insert(
        site.database, schema.circuits, destination="PACS", state="OPEN", failures=5,
        changed_at=1.0,
    )  # fmt: skip
    found = samples(site)
    operator = (("operator", "reader"), ("pipeline", "lung-density"))
    expected = {
        ("gateway_associations", (("state", "RELEASED"),)): 1,
        ("gateway_associations", (("state", "REJECTED"),)): 1,
        ("gateway_instances_received_total", (("called", "LUNG_CT"),)): 30,
        ("gateway_instances_ignored_total", ()): 2,
        ("gateway_payloads", (("state", "ROUTED"),)): 1,
        (
            "gateway_jobs",
            (("priority", "higher"), ("state", "STOPPED"), ("status", "HEALTHY")),
        ): 1,
        ("gateway_operator_seconds_count", operator): 1,
        ("gateway_operator_seconds_sum", operator): 7.5,
        ("gateway_operator_seconds_bucket", (("le", "5"), *operator)): 0,
        ("gateway_operator_seconds_bucket", (("le", "10"), *operator)): 1,
        ("gateway_operator_seconds_bucket", (("le", "+Inf"), *operator)): 1,
        ("gateway_results", (("destination", "PACS"), ("state", "DELIVERED"))): 1,
        ("gateway_rule_errors_total", (("called", "LUNG_CT"), ("rule", "lung density"))): 1,
        ("gateway_circuit_open", (("destination", "PACS"),)): 1,
        ("gateway_quarantine", ()): 0,
        ("gateway_storage_bytes", ()): 3000,
        ("gateway_ae_config_valid", ()): 1,
    }
    assert {key: found.get(key) for key in expected} == pytest.approx(expected)
    assert found[("gateway_storage_free_bytes", ())] > 0
    assert "stranger" not in repr(found)


def test_a_bad_ae_config_shows_in_metric_and_health(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "LEISURE", 0)
    monkeypatch.setattr(collector, "FRESH_SECONDS", 0)
    assert samples(site)[("gateway_ae_config_valid", ())] == 1
    (site.services.data_dir / "ae_config" / "bad.yaml").write_text("applications: 5\n")
    site.services.ae_config.reload()
    part = site.client.get("/health").json()["parts"]["ae_config"]
    assert part["status"] == "degraded"
    assert "bad.yaml:1" in part["faults"][0]
    assert samples(site)[("gateway_ae_config_valid", ())] == 0
    assert site.client.get("/health/ready").status_code == 200


def test_scrapes_that_follow_each_other_share_one_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "FRESH_SECONDS", 60)
    before = samples(site)[("gateway_payloads", (("state", "ROUTED"),))]
    seed.payload(site.database, state="ROUTED")
    assert samples(site)[("gateway_payloads", (("state", "ROUTED"),))] == before


def test_health_of_each_part(site: Site) -> None:
    body = site.client.get("/health").raise_for_status().json()
    assert body["status"] == "ok"
    assert body["version"] == "0.1.0"
    assert set(body["parts"]) == {"database", "ae_config", "disk", "delivery", "mqtt"}
    assert body["parts"]["disk"]["accepts_images"] is True
    assert body["parts"]["mqtt"]["configured"] is False
    assert site.client.get("/health/live").json() == {"status": "ok"}


def test_an_open_circuit_degrades_delivery_but_not_readiness(site: Site) -> None:
    seed.insert(
        site.database, schema.circuits, destination="PACS", state="OPEN", failures=5,
        reason="no answer", changed_at=1.0, retry_at=2.0,
    )  # fmt: skip
    body = site.client.get("/health").json()
    assert body["status"] == "degraded"
    assert body["parts"]["delivery"]["circuits"][0]["reason"] == "no answer"
    assert site.client.get("/health/ready").status_code == 200


def test_a_part_that_is_down_or_raises_makes_it_unready(site: Site) -> None:
    def broken() -> Part:
        raise RuntimeError("gone")

    checks = dict(site.services.checks)
    for check in (broken, lambda: Part(Condition.DOWN, {"error": "not listening"})):
        site.services.checks["dicom"] = check  # type: ignore[index]
        answer = site.client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["down"] == ["dicom"]
        assert site.client.get("/health").json()["parts"]["dicom"]["status"] == "down"
        assert site.client.get("/health/live").status_code == 200
    assert set(checks) < set(site.services.checks)


def test_the_page_and_the_api_page_need_no_other_host(site: Site) -> None:
    for path in ("/", "/api/v1/docs"):
        text = site.client.get(path).raise_for_status().text
        assert not re.search(r"(src|href)=.?(https?:)?//", text)
        assert "<script" not in text
    docs = site.client.get("/api/v1/docs").text
    assert "/api/v1/payloads/{payload_id}/timeline" in docs
    schema_ = site.client.get("/api/v1/openapi.json").raise_for_status().json()
    assert "/api/tasks/{agent}/pending" in schema_["paths"]
    for operations in schema_["paths"].values():
        assert all(operation["description"] for operation in operations.values())


def test_a_taken_port_is_an_error_with_its_address(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HttpError, match=f"127.0.0.1:{port}"):
            HttpServer(create_app(site.services), "127.0.0.1", port)


def test_a_stopped_server_frees_its_port_and_stops_twice(site: Site) -> None:
    server = HttpServer(create_app(site.services), "127.0.0.1", 0)
    server.start()
    assert server.running()
    port = server.port
    server.stop()
    server.stop()
    assert not server.running()
    socket.create_server(("127.0.0.1", port)).close()
