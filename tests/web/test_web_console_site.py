"""The console's actions against a running gateway: delivery, C-ECHO, rules, files, restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.console import PASSWORD, sign_in
from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dicom import slice_
from tests.support.site import Site, application, rule, write

RULE = 'series.exists(s, s.Modality == "CT" && s.instances >= 2)'


@pytest.fixture(scope="module")
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pacs: CountingPacs) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("console"),
        applications=[application(rule(when=RULE))],
        destinations=[pacs.destination(), {**pacs.destination("GONE"), "port": 9}],
    )
    made.start()
    try:
        yield made
    finally:
        assert made.stop() == 0


def post(site: Site, path: str) -> httpx.Response:
    assert site.http is not None
    return site.http.post(f"/api/v1/{path}", timeout=60)


def result(site: Site) -> dict[str, object]:
    found = site.items("results")
    return found[0] if found else {"state": None}


def test_delivery_is_paused_resumed_and_repeated(
    site: Site, pacs: CountingPacs, tmp_path: Path
) -> None:
    assert post(site, "destinations/PACS/echo").json()["ok"] is True
    gone = post(site, "destinations/gone/echo").json()
    assert gone["ok"] is False
    assert gone["detail"]
    paused = post(site, "destinations/pacs/pause").json()
    assert paused["paused"]["since"]
    site.send([write(slice_(n, Modality="CT"), tmp_path / f"{n}.dcm") for n in (1, 2)])
    site.wait(lambda: result(site)["state"] == "PENDING", 120)
    queue = site.http.get("/api/v1/destinations/PACS").json()["queue"] if site.http else {}
    assert queue["PENDING"] == 1
    # It survives a restart: nobody took it back.
    assert site.stop() == 0
    site.start()
    site.wait(lambda: site.items("jobs")[0]["state"] == "STOPPED")
    assert result(site)["state"] == "PENDING"
    assert pacs.seen == {}
    assert post(site, "destinations/PACS/resume").json()["paused"] is None
    assert post(site, "destinations/PACS/resume").status_code == 409
    site.wait(lambda: result(site)["state"] == "DELIVERED")
    ((uid, first),) = pacs.seen.items()
    assert len(first) == 1
    assert post(site, f"results/{result(site)['id']}/resend").status_code == 200
    site.wait(lambda: result(site)["state"] == "DELIVERED" and len(pacs.seen[uid]) == 2)
    assert len(set(pacs.seen[uid])) == 1
    kinds = [event["kind"] for event in site.items("events")]
    assert {"destination/paused", "destination/resumed"} <= set(kinds)


def test_rules_are_explained_for_the_past_and_for_a_file(site: Site, tmp_path: Path) -> None:
    assert site.http is not None
    (payload,) = site.items("payloads")
    asked = {"payload": payload["id"]}
    (told,) = site.http.post("/api/v1/rules/explain", json=asked, timeout=60).json()["items"]
    assert told["instances"] == 2
    assert told["rules"][0]["outcome"] == "MATCHED"
    assert told["rules"][0]["expressions"][0]["value"] is True
    assert told["series"][0]["modality"] == "CT"
    data = write(slice_(1, Modality="CT"), tmp_path / "one.dcm").read_bytes()
    kind = {"Content-Type": "application/dicom"}
    path = "/api/v1/rules/explain-file"
    params = {"called": "AI", "calling": "CT1"}
    answer = site.http.post(path, params=params, content=data, headers=kind, timeout=60)
    (told,) = answer.json()["items"]
    assert told["instances"] == 1
    assert told["rules"][0]["outcome"] == "NOT_MATCHED"
    bad = site.http.post(path, params=params, content=b"no DICOM", headers=kind, timeout=60)
    assert bad.status_code == 409
    params["called"] = "NOBODY"
    assert site.http.post(path, params=params, content=data, headers=kind).status_code == 404
    # Nothing was stored or started.
    assert len(site.items("payloads")) == len(site.items("jobs")) == 1


def test_a_jobs_input_and_output_are_downloaded(site: Site) -> None:
    assert site.http is not None
    (job,) = site.items("jobs")
    base = f"/api/v1/jobs/{job['id']}"
    files, folders = [], [""]
    while folders:
        told = site.http.get(f"{base}/files/{folders.pop()}".rstrip("/")).json()
        folders += [item["path"] for item in told["items"] if item["kind"] == "folder"]
        files += [item["path"] for item in told["items"] if item["kind"] == "file"]
    inputs = [path for path in files if path.startswith("input/dcm/")]
    assert len(inputs) == 2
    assert any(path.startswith("operators/make/") for path in files)
    answer = site.http.get(f"{base}/files/{inputs[0]}", headers={"Range": "bytes=128-131"})
    assert (answer.status_code, answer.content) == (206, b"DICM")
    graph = site.http.get(f"{base}/graph").json()
    assert [node["status"] for node in graph["nodes"]] == ["COMPLETED", "COMPLETED"]
    assert site.http.get(f"{base}/operators/make/log").json()["ended"] is True


def test_the_command_line_makes_users_and_tokens_for_a_gateway_that_runs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last: with the first user the gateway is closed."""
    assert site.http is not None
    made = site.cli("create", "token", "nightly", "--role", "viewer")
    token = made.stdout.strip()
    with httpx.Client(base_url=site.http.base_url, trust_env=False, timeout=60) as client:
        assert client.get("/api/v1/jobs").status_code == 200
        command = ["create", "user", "mei", "--role", "administrator", "--password-stdin"]
        done = site.cli(*command, stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        assert client.get("/api/v1/jobs").status_code == 401
        answer = sign_in(client, "mei")
        assert answer.status_code == 200
        assert client.get("/api/v1/jobs").status_code == 200
        # The session outlives the process.
        site.kill()
        site.start()
        client.base_url = site.http.base_url
        assert client.get("/api/v1/session").json()["user"] == "mei"
        listed = site.cli("list", "jobs")
        assert listed.returncode == 1
        assert "GATEWAY_TOKEN" in listed.stderr
        monkeypatch.setenv("GATEWAY_TOKEN", token)
        assert site.cli("list", "jobs", "--json").returncode == 0
        refused = site.cli("pause", "scheduler")
        assert refused.returncode == 1
        assert "viewer" in refused.stderr
        assert "mei" in site.cli("list", "users").stdout
        again = site.cli(*command, "--replace", stdin="another horse battery\n")
        assert again.returncode == 0, again.stderr
        assert client.get("/api/v1/jobs").status_code == 401
        assert site.cli("remove", "user", "mei").returncode == 1
        assert site.cli("remove", "user", "mei", "--last").returncode == 0
        assert site.cli("remove", "token", "nightly").returncode == 0
        assert site.cli("remove", "token", "nightly").returncode == 3
        actions = [item["action"] for item in client.get("/api/v1/audit").json()["items"]]
        assert actions[:3] == ["remove token", "remove user", "create user"]
