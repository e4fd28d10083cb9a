"""What comes in wrong is refused with a clear word, shown to people, and loses nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.dicom import pdu
from tests.support.counting_pacs import CountingPacs, counting_pacs
from tests.support.dcmtk import echoscu, storescu
from tests.support.dicom import encode, slice_
from tests.support.dicompeer import Parrot, p_data, pdv, request, store_command
from tests.support.evidence import kept
from tests.support.programs import program
from tests.support.site import Site, application, rule, write

EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"

CYCLE = """\
api-version: 0.4.0
name: cycle
operators:
- name: one
  container: {image: test/python}
  input:
  - {from: two, path: /input}
  output: [{path: /output}]
- name: two
  container: {image: test/python}
  input:
  - {from: one, path: /input}
  output: [{path: /output}]
"""
UNKNOWN_KEY = """\
api-version: 0.4.0
name: unknown-key
operators:
- name: one
  container: {image: test/python}
  colour: green
  input: [{path: /input}]
  output: [{path: /output}]
"""
MISSING_FROM = """\
api-version: 0.4.0
name: missing-from
operators:
- name: one
  container: {image: test/python}
  input:
  - {from: nobody, path: /input}
  output: [{path: /output}]
"""
DEFINITIONS = {
    # File, the line at fault, and words that a person needs to find it.
    "cycle": (CYCLE, {6, 11}, ("cycle",)),
    "unknown-key": (UNKNOWN_KEY, {6}, ("colour",)),
    "missing-from": (MISSING_FROM, {7}, ("nobody",)),
}


@pytest.fixture(scope="module")
def pacs() -> Iterator[CountingPacs]:
    with counting_pacs() as running:
        yield running


def titles() -> list[dict[str, Any]]:
    return [
        application(rule()),
        application(rule("nulls", when="series[0].SliceThickness < 2.0"), **{"ae-title": "NULLS"}),
        application(rule("gone", pipeline="no-such-pipeline"), **{"ae-title": "GONE"}),
        application(rule("mr", when='study.Modality == "MR"'), **{"ae-title": "NOBODY"}),
        application(**{"ae-title": "STORE"}),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pacs: CountingPacs) -> Iterator[Site]:
    made = Site(
        tmp_path_factory.mktemp("bad"),
        applications=titles(),
        destinations=[pacs.destination()],
    )
    made.configure(**(made.config | {"sources": sources()}))
    for name, (text, _, _) in DEFINITIONS.items():
        (made.root / "pipelines" / f"{name}.yaml").write_text(text)
    made.start()
    yield made
    assert made.stop() == 0


def sources() -> list[dict[str, Any]]:
    return [
        {"ae-title": "CT1", "hosts": ["127.0.0.1"]},
        {"ae-title": "FAR", "hosts": ["10.9.9.9"]},
    ]


def health(site: Site) -> dict[str, Any]:
    assert site.http is not None
    parts: dict[str, Any] = site.http.get("/health").json()["parts"]
    return parts


def metrics(site: Site) -> str:
    assert site.http is not None
    return site.http.get("/metrics").text


def study(folder: Path, called: str, count: int = 2, **changes: Any) -> list[Path]:
    uid = f"1.2.826.0.1.3680043.8.498.5.{sum(map(ord, called))}"
    same = {"StudyInstanceUID": uid, "SeriesInstanceUID": uid + ".1"} | changes
    return [write(slice_(n, **same), folder / f"{n}.dcm") for n in range(count)]


# ---- peers ---------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize(
    ("called", "calling", "on_the_wire", "told"),
    [
        ("WRONG", "CT1", "Called AE Title Not Recognized", ["'WRONG'", "known: AI, GONE"]),
        ("AI", "STRANGER", "Calling AE Title Not Recognized", ["'STRANGER'", "host 127.0.0.1"]),
        ("AI", "FAR", "Calling AE Title Not Recognized", ["FAR", "127.0.0.1", "10.9.9.9"]),
    ],
)
def test_a_stranger_is_rejected_with_the_reason(
    site: Site, tmp_path: Path, called: str, calling: str, on_the_wire: str, told: list[str]
) -> None:
    files = study(tmp_path, called)
    sent = storescu(files, site.ports["dicom"], called, calling)
    assert sent.returncode != 0
    assert on_the_wire in sent.stderr
    who = {"called_ae": called, "calling_ae": calling}
    rejected = site.wait(lambda: site.items("associations", state="REJECTED", **who))
    assert len(rejected) == 1
    for word in told:
        assert word in rejected[0]["reason"]
    shown = site.cli("list", "associations", "--state", "rejected", "--json")
    assert rejected[0]["reason"] in [a["reason"] for a in yaml.safe_load(shown.stdout)]
    # And the next one, done right, is served.
    assert echoscu(site.ports["dicom"], "AI", "CT1").returncode == 0


def test_an_association_cut_in_mid_image(site: Site) -> None:
    whole, half = slice_(1), slice_(2, PixelData=bytes(1 << 16))
    parrot = Parrot(site.ports["dicom"])
    parrot.associate(request([(CT, [EXPLICIT])], called="STORE"))
    parrot.say(p_data(pdv(1, store_command(whole.SOPInstanceUID), command=True)))
    parrot.say(p_data(pdv(1, encode(whole))))
    assert parrot.response().number(0x0900) == 0
    parrot.say(p_data(pdv(1, store_command(half.SOPInstanceUID), command=True)))
    parrot.say(p_data(pdv(1, encode(half)[: 1 << 15], last=False)))
    parrot.say(pdu.abort(0, 0))
    parrot.close()
    record = site.wait(lambda: site.items("associations", state="ABORTED", called_ae="STORE"))[0]
    assert "abort" in record["reason"]
    assert record["instances"] == 1
    site.wait(lambda: set(kept(site, "STORE")) == {whole.SOPInstanceUID})
    site.wait(lambda: not list((site.data / "incoming").iterdir()))
    payload = site.wait(
        lambda: [p for p in site.items("payloads", called_ae="STORE") if p["state"] == "UNMATCHED"]
    )[0]
    assert payload["instances"] == 1


@pytest.mark.peers
def test_a_sender_killed_while_it_sends(site: Site, tmp_path: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.5.9"
    pixels = {"PixelData": bytes(2 * 1024 * 1024), "Rows": 1024, "Columns": 1024}
    for n in range(60):
        ds = slice_(n, StudyInstanceUID=uid, SeriesInstanceUID=uid + ".1", **pixels)
        write(ds, tmp_path / f"{n}.dcm")
    before = set(kept(site, "STORE"))
    command = [program("storescu"), "-v", "-aec", "STORE", "-aet", "CT1", "+sd"]
    with (tmp_path.parent / "storescu.log").open("wb") as log:
        sender = subprocess.Popen(
            [*command, "127.0.0.1", str(site.ports["dicom"]), str(tmp_path)],
            stdout=log,
            stderr=log,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        site.wait(lambda: len(set(kept(site, "STORE")) - before) >= 3)
        sender.kill()
        sender.wait(10)
    log_text = (tmp_path.parent / "storescu.log").read_text(errors="replace")
    acknowledged = log_text.count("Received Store Response (Success)")
    site.wait(lambda: not site.items("associations", state="OPEN"))
    record = site.wait(
        lambda: [a for a in site.items("associations", called_ae="STORE") if a["instances"] > 1]
    )[0]
    assert record["state"] == "ABORTED", record
    assert record["reason"]
    stored = {u: k for u, k in kept(site, "STORE").items() if u not in before}
    assert acknowledged <= len(stored) == record["instances"] < 60
    site.wait(lambda: not list((site.data / "incoming").iterdir()))
    for one in stored.values():
        assert one.file.stat().st_size > 2 * 1024 * 1024


def test_a_data_set_without_study_uid(site: Site, tmp_path: Path) -> None:
    file = write(slice_(StudyInstanceUID=None), tmp_path / "no-study.dcm")
    (sent,) = site.send([file], called="STORE")
    assert sent.status == 0xC000
    assert "StudyInstanceUID" in sent.comment
    (held,) = site.wait(lambda: site.items("quarantine", called_ae="STORE"))
    assert "StudyInstanceUID" in held["reason"]
    shown = site.cli("list", "quarantine")
    assert held["id"] in shown.stdout
    assert "gateway_quarantine 1.0" in site.wait(
        lambda: metrics(site) if "gateway_quarantine 1.0" in metrics(site) else None
    )
    # The bytes are there; trying again says the same and loses nothing.
    again = site.cli("retry", "quarantine", held["id"])
    assert "StudyInstanceUID" in again.stdout + again.stderr
    assert len(list((site.data / "quarantine").glob("*.dcm"))) == 1
    (still,) = site.items("quarantine", called_ae="STORE")
    assert still["resolved_at"] is None


# ---- ae_config -----------------------------------------------------------------------------


def test_a_bad_ae_config_at_start(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.root / "ae_config" / "test.yaml").write_text(
        "applications:\n"
        "- ae-title: A_TITLE_THAT_IS_TOO_LONG\n"
        "  colour: green\n"
        "- ae-title: AI\n"
        "  rules:\n"
        "  - {name: bad, pipeline: derive, when: 'series.exists(s, s.Modality ==)'}\n"
    )
    (site.root / "ae_config" / "other.yaml").write_text("sources: {ae-title: [\n")
    site.start()
    assert site.process is not None
    assert site.process.wait(20) == 2
    lines = (site.root / "gateway.log").read_text().splitlines()
    faults = [line for line in lines if "ae_config/" in line]
    assert any("test.yaml:2: applications[0].ae-title:" in line for line in faults), lines
    assert any("test.yaml:3: applications[0].colour:" in line for line in faults), lines
    assert any("other.yaml:" in line for line in faults), lines
    assert faults == lines
    assert not (site.data / "endpoints.json").exists()


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("series.exists(s, s.Modality ==)", "mismatched input ')' (line:column 1:31)"),
        ("series[0].NoSuchKeyword == 1", "NoSuchKeyword"),
    ],
)
def test_a_bad_expression_at_start(tmp_path: Path, when: str, told: str) -> None:
    site = Site(tmp_path, applications=[application(rule(when=when, destinations=[]))])
    site.start()
    assert site.process is not None
    assert site.process.wait(20) == 2
    (line,) = (site.root / "gateway.log").read_text().splitlines()
    text = (site.root / "ae_config" / "test.yaml").read_text().splitlines()
    number = next(n for n, found in enumerate(text, 1) if found.strip().startswith("when:"))
    assert f"ae_config/test.yaml:{number}: applications[0].rules[0].when: " in line
    assert told in line


def echoes(site: Site, calling: str) -> bool:
    """Whether ``gateway echo`` under that calling AE title is answered."""
    there = f"AI@127.0.0.1:{site.ports['dicom']}"
    return site.cli("echo", there, "--calling", calling).returncode == 0


def test_ae_config_breaks_while_running_and_is_mended(site: Site) -> None:
    path = site.root / "ae_config" / "test.yaml"
    good = path.read_text()
    try:
        path.write_text(good.replace("AI", "AI\n  colour: green", 1))
        site.wait(lambda: health(site)["ae_config"]["valid"] is False)
        part = health(site)["ae_config"]
        assert part["status"] == "degraded"
        assert "test.yaml:3: applications[0].colour:" in part["faults"][0]
        site.wait(lambda: "gateway_ae_config_valid 0.0" in metrics(site))
        assert "the last good one stays in force" in (site.root / "gateway.log").read_text()
        # The last good one serves meanwhile.
        assert echoes(site, "CT1")
        assert not echoes(site, "NEW")
        assert len(site.items("applications")) == 5
        more = yaml.safe_load(good)
        more["sources"].append({"ae-title": "NEW", "hosts": ["127.0.0.1"]})
        path.write_text(yaml.safe_dump(more, sort_keys=False))
        site.wait(lambda: "NEW" in [s["ae_title"] for s in site.items("sources")])
        assert health(site)["ae_config"]["valid"] is True
        site.wait(lambda: "gateway_ae_config_valid 1.0" in metrics(site))
        assert echoes(site, "NEW")
    finally:
        path.write_text(good)
        site.wait(lambda: health(site)["ae_config"]["valid"])


# ---- rules ---------------------------------------------------------------------------------


def routed(site: Site, called: str) -> dict[str, Any]:
    """The payload of a called AE title once the rules have spoken."""
    found = site.wait(
        lambda: [
            p
            for p in site.items("payloads", called_ae=called)
            if p["state"] != "RECEIVING" and p["routed_at"]
        ]
    )
    payload: dict[str, Any] = found[0]
    return payload


def test_a_rule_that_errs_on_null(site: Site, tmp_path: Path) -> None:
    site.send(study(tmp_path, "NULLS", SliceThickness=None), called="NULLS")
    payload = routed(site, "NULLS")
    assert payload["state"] == "UNMATCHED"
    assert "error" in payload["reason"]
    decision = next(
        d for d in site.items("decisions", payload=payload["id"]) if d["rule"] == "nulls"
    )
    assert decision["outcome"] == "ERROR"
    assert decision["error"]
    assert decision["job_id"] is None
    shown = site.cli("list", "decisions", "--outcome", "error", "--json")
    assert [d["error"] for d in yaml.safe_load(shown.stdout)] == [decision["error"]]
    wanted = 'gateway_rule_errors_total{called="NULLS",rule="nulls"} 1.0'
    site.wait(lambda: wanted in metrics(site))
    assert len(kept(site, "NULLS")) == 2


def test_an_unknown_pipeline(site: Site, tmp_path: Path) -> None:
    site.send(study(tmp_path, "GONE"), called="GONE")
    payload = routed(site, "GONE")
    decision = next(
        d for d in site.items("decisions", payload=payload["id"]) if d["rule"] == "gone"
    )
    assert decision["outcome"] == "ERROR"
    assert "no-such-pipeline" in decision["error"]
    assert site.items("jobs", called_ae="GONE") == []
    assert len(kept(site, "GONE")) == 2
    # Once the pipeline is there the study is not lost: the rules are asked again.
    shown = site.cli("describe", "payload", payload["id"])
    assert "no-such-pipeline" in shown.stdout


def test_a_study_that_no_rule_wants(site: Site, tmp_path: Path) -> None:
    files = study(tmp_path, "NOBODY")
    site.send(files, called="NOBODY")
    payload = routed(site, "NOBODY")
    assert payload["state"] == "UNMATCHED"
    assert "no rule matched" in payload["reason"]
    shown = site.cli("list", "payloads", "--study", payload["study_instance_uid"])
    assert "UNMATCHED" in shown.stdout
    assert len(kept(site, "NOBODY")) == 2
    site.wait(lambda: 'gateway_payloads{state="UNMATCHED"}' in metrics(site))


# ---- definitions ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_bad_definition_is_named_with_its_line(site: Site, name: str) -> None:
    _, lines, words = DEFINITIONS[name]
    part = health(site)["pipelines"]
    assert part["status"] == "degraded"
    faults = [f for f in part["faults"] if f"{name}.yaml:" in f]
    assert faults
    assert {int(f.split(f"{name}.yaml:")[1].split(":")[0]) for f in faults} <= lines
    for word in words:
        assert any(word in f for f in faults), faults
    assert name not in [p["name"] for p in site.items("pipelines")]
    log = (site.root / "gateway.log").read_text()
    assert faults[0].split(": ", 1)[1][:40] in log


def test_the_other_pipelines_work(site: Site, pacs: CountingPacs, tmp_path: Path) -> None:
    site.send(study(tmp_path, "AI"))
    site.wait(lambda: site.items("results", state="DELIVERED"))
    (job,) = site.items("jobs", called_ae="AI")
    assert job["status"] == "HEALTHY"
