"""``gateway dicom list|create|delete`` on the files of a machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.config.applications import load
from tests.cli.conftest import Gateway


@pytest.fixture
def folder(home: Path) -> Path:
    made = home / "ae_config"
    made.mkdir()
    (home / "gateway.yaml").write_text("ae-config: ae_config\n")
    (made / "site.yaml").write_text("sources:\n- {ae-title: CT1, hosts: [127.0.0.1]}\n")
    return made


def test_claras_words_make_entries(gateway: Gateway, folder: Path) -> None:
    for arguments in (
        ["create", "src", "-a", "CT2", "-i", "10.1.0.17"],
        ["create", "dest", "-n", "PACS", "-a", "ORTHANC", "-i", "10.1.0.5", "-p", "4242"],
        ["create", "dest", "-n", "SHARE", "--folder", "/mnt/results"],
        ["create", "aetitle", "-a", "LUNG_CT", "pipeline-density=lung-density", "timeout=10",
         "priority=higher", "groupBy=series", "--destination", "PACS"],
        ["create", "aet", "-a", "KEEP", "duplicates=replace",
         "accept.ignore-sop-classes=['1.2.3']"],
    ):  # fmt: skip
        done = gateway("dicom", *arguments)
        assert done.returncode == 0, done.stderr
        assert str(folder / "managed.yaml") in done.stdout.replace("\n", "")
    found = load(folder)
    lung = found.application("LUNG_CT")
    assert lung is not None
    assert (lung.group_by, lung.complete_when.quiet_seconds) == ("series", 10)
    (rule,) = lung.rules
    assert (rule.name, rule.pipeline, rule.priority) == ("density", "lung-density", "higher")
    assert rule.destinations == ["PACS"]
    keep = found.application("KEEP")
    assert keep is not None
    assert keep.accept.ignore_sop_classes == ["1.2.3"]

    items = json.loads(gateway("dicom", "list", "dests", "--json").stdout)
    assert [(item["name"], item["managed"]) for item in items] == [("PACS", True), ("SHARE", True)]
    assert items[0]["ae_title"] == "ORTHANC"
    table = gateway("dicom", "list", "sources").stdout
    assert "site.yaml" in table
    assert "managed.yaml" in table
    assert "density" in gateway("dicom", "list", "aet").stdout


def test_how_they_end(gateway: Gateway, folder: Path) -> None:
    gateway("dicom", "create", "dest", "-n", "PACS", "-a", "X", "-i", "h", "-p", "104")
    rule = ["pipeline-r=p", "--destination", "PACS"]
    assert gateway("dicom", "create", "aet", "-a", "AI", *rule).returncode == 0
    for code, said, arguments in (
        (1, "site.yaml:2", ["create", "src", "-a", "CT1", "-i", "10.0.0.1"]),
        (1, "site.yaml:2", ["delete", "src", "CT1"]),
        (1, "--replace", ["create", "dest", "-n", "pacs", "--folder", "x"]),
        (2, "no destination is named 'PACS'", ["delete", "dest", "-n", "PACS"]),
        (2, "no destination is named 'OTHER'", ["create", "aet", "-a", "B", "pipeline-r=p",
                                                "--destination", "OTHER"]),
        (2, "rules[0].when", ["create", "aet", "-a", "B",
                              "rules=[{name: a, pipeline: p, when: '%'}]"]),
        (2, "unknown key", ["create", "aet", "-a", "B", "nonsense=1"]),
        (2, "need a rule", ["create", "aet", "-a", "B", "priority=higher"]),
        (2, "give one name", ["delete", "aet"]),
        (3, "no source 'CT9'", ["delete", "source", "CT9"]),
        (0, "taken out of", ["remove", "aet", "-a", "AI"]),
        (0, "taken out of", ["delete", "dest", "-n", "PACS"]),
    ):  # fmt: skip
        done = gateway("dicom", *arguments)
        assert done.returncode == code, (arguments, done)
        assert said in done.stdout + done.stderr, (arguments, done)
    assert [s.ae_title for s in load(folder).sources] == ["CT1"]
