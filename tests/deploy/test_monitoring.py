"""Alert rules and dashboards: accepted, true to the metrics there are, and alive on a real run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.dicom import slice_
from tests.support.nvml import FakeNvml
from tests.support.orthanc import running_orthanc
from tests.support.programs import free_port
from tests.support.prometheus import promtool, running_prometheus
from tests.support.seed import SECRETS
from tests.support.site import Site, application, deriving, rule, write

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\bgateway_\w+")
SUFFIXES = ("_bucket", "_sum", "_count")

pytestmark = pytest.mark.peers

SAME = 'job="gateway", instance="g"'
# Alert, its series as promtool writes them (one value a minute), when it fires, when it does not.
CASES: list[tuple[str, dict[str, str], str, str]] = [
    ("GatewayDown", {"up": "1x10 0x10"}, "15m", "9m"),
    ("GatewayPartDown", {'gateway_part_condition{part="grpc"}': "1x10 2x10"}, "15m", "9m"),
    ("GatewaySchedulerStopped", {"gateway_schedulers": "1x10 0x10"}, "15m", "9m"),
    (
        "GatewaySchedulerStopped",
        {'gateway_part_condition{part="router"}': "0x10 2x10"},
        "15m",
        "9m",
    ),
    ("GatewayIndexBehind", {"gateway_intake_waiting": "0x10 9000x10"}, "18m", "12m"),
    ("GatewayConfigInvalid", {"gateway_ae_config_valid": "1x10 0x10"}, "15m", "9m"),
    (
        "GatewayDestinationDown",
        {'gateway_circuit_open{destination="PACS"}': "0x10 1x10 0x10"},
        "15m",
        "25m",
    ),
    (
        "GatewayResultsWait",
        {'gateway_result_oldest_seconds{destination="PACS"}': "0+60x60"},
        "40m",
        "30m",
    ),
    (
        "GatewayUrgentJobsWait",
        {
            'gateway_job_oldest_seconds{priority="immediate"}': "0+60x20",
            'gateway_job_oldest_seconds{priority="normal"}': "0+60x20",
        },
        "10m",
        "4m",
    ),
    (
        "GatewayJobsWait",
        {
            'gateway_job_oldest_seconds{priority="immediate"}': "0+60x100",
            'gateway_job_oldest_seconds{priority="normal"}': "0+60x100",
        },
        "80m",
        "50m",
    ),
    (
        "GatewayStudiesNotRouted",
        {
            'gateway_payload_oldest_seconds{state="COMPLETE"}': "0+60x20",
            'gateway_payload_oldest_seconds{state="RECEIVING"}': "3000x20",
        },
        "10m",
        "3m",
    ),
    ("GatewayDiskRefuses", {'gateway_part_condition{part="disk"}': "0x10 1x10"}, "15m", "9m"),
    (
        "GatewayDiskNearWatermark",
        {
            "gateway_node_disk_free_bytes": "30e9x10 18e9x30",
            "gateway_node_disk_bytes": "100e9x40",
            "gateway_storage_watermark_ratio": "0.85x40",
            "gateway_storage_reserve_bytes": "5e9x40",
        },
        "30m",
        "20m",
    ),
    (
        "GatewayDiskFillsUp",
        {
            "gateway_node_disk_free_bytes": "100e9-0.1e9x300",
            "gateway_storage_reserve_bytes": "5e9x300",
        },
        "100m",
        "50m",
    ),
    (
        "GatewayWaitsForPerson",
        {'gateway_waiting_for_person{what="result"}': "0x10 1x20 0x10"},
        "20m",
        "35m",
    ),
    (
        "GatewayQuarantine",
        {'gateway_waiting_for_person{what="quarantine"}': "0x9 1x20"},
        "20m",
        "9m",
    ),
    ("GatewayJobsFail", {'gateway_waiting_for_person{what="job"}': "3x20 4x60"}, "25m", "60m"),
    (
        "GatewayNoImages",
        {
            'gateway_last_received_timestamp_seconds{called="A"}': "0x900",
            'gateway_last_received_timestamp_seconds{called="B"}': "3600x900",
        },
        "800m",
        "770m",
    ),
    ("GatewayRefusesImages", {"gateway_instances_refused_total": "0x10 2x60"}, "15m", "50m"),
    (
        "GatewayRulesFail",
        {'gateway_rule_errors_total{called="A", rule="r"}': "0x10 2x60"},
        "15m",
        "50m",
    ),
    ("GatewayBrokerAway", {'gateway_part_condition{part="mqtt"}': "0x9 1x20"}, "25m", "15m"),
]


def series(name: str) -> str:
    """The series with the labels that every scrape adds."""
    bare, _, labels = name.rstrip("}").partition("{")
    return f"{bare}{{{SAME}{', ' + labels if labels else ''}}}"


def metrics_there_are() -> set[str]:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    return set(re.findall(r"^\| `(gateway_\w+)`", page, re.MULTILINE))


def panels(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def test_promtool_accepts_rules_and_configuration() -> None:
    for command in (("check", "rules", "alerts.yaml"), ("check", "config", "prometheus.yml")):
        done = promtool(*command, cwd=MONITORING)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def test_every_alert_fires_and_does_not(tmp_path: Path) -> None:
    assert {case[0] for case in CASES} == {rule_["alert"] for rule_ in RULES}
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series(n), "values": v} for n, v in given.items()],
            "promql_expr_test": [
                # With its labels left out, so that a case stays one line.
                {
                    "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
                for at, fires in ((yes, True), (no, False))
            ],
        }
        for alert, given, yes, no in CASES
    ]
    rules = str(MONITORING / "alerts.yaml")
    asked = {"rule_files": [rules], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    done = promtool("test", "rules", "test.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_metrics_that_exist_are_asked_for() -> None:
    there = metrics_there_are()
    asked = queries() + [(each["alert"], each["expr"]) for each in RULES]
    for where, expression in asked:
        for name in METRIC.findall(expression):
            base = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
            assert {name, base} & there, f"{where}: {name}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["id"] is None
    assert board["uid"].startswith("gateway-")
    assert [each["name"] for each in board["templating"]["list"]] == [
        "datasource", "job", "instance",
    ]  # fmt: skip
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(path):
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            selectors = METRIC.findall(target["expr"])
            assert target["expr"].count('instance=~"$instance"') == len(selectors)


def filled(expression: str) -> str:
    """As Grafana would send it."""
    for variable, value in (
        ("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", "1m"), ("$__range", "5m"),
    ):  # fmt: skip
        expression = expression.replace(variable, value)
    return expression


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fake = FakeNvml(tmp_path)
    fake.say()
    port = free_port()
    pacs = {"name": "PACS", "ae-title": "ORTHANC", "host": "127.0.0.1", "port": port}
    made = Site(
        tmp_path / "site",
        applications=[application(rule())],
        pipelines=[deriving(1.5)],
        destinations=[pacs],
    )
    made.start(**fake.environment)
    yield made
    if made.process is not None:
        assert made.stop() == 0


def send(site: Site, folder: Path, study: int) -> None:
    uid = f"1.2.826.0.1.3680043.8.498.77.{study}"
    secret = {"PatientID": SECRETS[0], "PatientName": SECRETS[1], "AccessionNumber": SECRETS[3]}
    slices = [
        write(
            slice_(
                number, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1",
                SOPInstanceUID=f"{uid}.1.{number}", **secret,
            ),
            folder / f"{study}-{number}.dcm",
        )
        for number in range(1, 4)
    ]  # fmt: skip
    assert [sent.status for sent in site.send(slices)] == [0, 0, 0]


def delivered(site: Site, count: int) -> bool:
    states = [each["state"] for each in site.items("results")]
    return states == ["DELIVERED"] * count


def pacs_of(site: Site, folder: Path) -> Any:
    return running_orthanc(folder, port=site.config["destinations"][0]["port"])


@pytest.mark.slow
def test_every_query_of_every_dashboard_returns_data(site: Site, tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(pacs_of(site, tmp_path))
        send(site, tmp_path, 1)
        site.wait(lambda: delivered(site, 1))
        watching = stack.enter_context(
            running_prometheus(tmp_path / "prometheus", site.ports["http"])
        )
        watching.wait(lambda: watching.query("gateway_delivery_seconds_count"))
        # What grew while nobody looked has no rate: one study more.
        send(site, tmp_path, 2)
        site.wait(lambda: delivered(site, 2))
        watching.wait(lambda: watching.query("increase(gateway_delivery_seconds_count[1m]) > 0"))
        missing = [
            f"{where}: {expression}"
            for where, expression in queries()
            if all(math.isnan(float(s["value"][1])) for s in watching.query(filled(expression)))
        ]
        assert missing == []
        assert watching.firing() == set()
        everything = watching.query('{__name__=~".+"}')
        assert not any(secret in repr(everything) for secret in SECRETS)
        site.kill()
        watching.wait(lambda: watching.firing() == {("GatewayDown", "")})


@pytest.mark.prove
def test_an_alert_fires_while_orthanc_is_away(site: Site, tmp_path: Path) -> None:
    down = ("GatewayDestinationDown", "PACS")
    with running_prometheus(tmp_path / "prometheus", site.ports["http"]) as watching:
        with pacs_of(site, tmp_path):
            send(site, tmp_path, 1)
            site.wait(lambda: delivered(site, 1))
            watching.wait(lambda: watching.query("gateway_delivery_seconds_count"))
            assert watching.firing() == set()
        send(site, tmp_path, 2)
        watching.wait(lambda: down in watching.firing(), 120)
        with pacs_of(site, tmp_path):
            watching.wait(lambda: down not in watching.firing(), 180)
            site.wait(lambda: delivered(site, 2), 120)
            watching.wait(lambda: watching.firing() == set())
