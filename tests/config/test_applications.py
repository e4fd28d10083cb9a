"""The files of ae_config: merged, checked, and every fault with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.applications import Rule, load
from gateway.config.document import ConfigError, Fault

GOOD = """\
applications:
- ae-title: LUNG_CT
  group-by: study
  complete-when:
    quiet-seconds: 5
    association-released: false
    instances: tag
    max-wait-seconds: 3600
  accept: {sop-classes: [1.2.840.10008.5.1.4.1.1.2], ignore-sop-classes: []}
  duplicates: keep-first
  late-instances: new-revision
  rules:
  - name: lung density
    when: 'series.exists(s, s.Modality == "CT")'
    select: 's.Modality == "CT"'
    prefer: 's.instances'
    pipeline: lung-density
    priority: higher
    variables: {A: 1, B: x, C: 1.5, D: true}
    destinations: [pacs]
  otherwise: keep
sources:
- {ae-title: CT1, hosts: [127.0.0.1, 10.1.0.0/16, ct1.example.org, "::1"], port: null}
destinations:
- {name: PACS, ae-title: ORTHANC, host: 127.0.0.1, port: 4242, calling-ae-title: GATEWAY}
- {name: folder, folder: out}
"""

NOWHERE = """\
applications:
- ae-title: A
  rules:
  - name: r
    pipeline: p
    destinations: [FOLDER, NOWHERE]
destinations: [{name: folder, folder: out}]
"""


def faults(folder: Path, **files: str) -> list[Fault]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return list(caught.value.faults)


def test_every_key_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    config = load(tmp_path)
    application = config.application("LUNG_CT")
    assert application is not None
    (rule,) = application.rules
    assert rule.variables == {"A": 1, "B": "x", "C": 1.5, "D": True}
    assert [type(v) for v in rule.variables.values()] == [int, str, float, bool]
    assert application.complete_when.instances == "tag"
    assert config.application("lung_ct") is None
    pacs = config.destination("pacs")
    assert pacs is not None
    assert (pacs.calling_ae_title, pacs.tls, pacs.commitment) == ("GATEWAY", False, False)
    folder = config.destination("FOLDER")
    assert folder is not None
    assert folder.folder == tmp_path / "out"


def test_defaults_of_an_application(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: A}]\n")
    application = load(tmp_path).applications[0]
    when = application.complete_when
    assert (when.quiet_seconds, when.association_released) == (5, False)
    assert (when.instances, when.max_wait_seconds) == (None, 3600)
    assert application.accept.sop_classes is None
    assert (application.group_by, application.duplicates) == ("study", "keep-first")
    assert (application.late_instances, application.otherwise) == ("new-revision", "keep")


def test_files_are_merged_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("applications: [{ae-title: B}]\n")
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: A}]\n")
    (tmp_path / "notes.txt").write_text("not: [yaml\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / ".#a.yaml").symlink_to("user@host.1234:1")
    (tmp_path / ".a.yaml").write_text("half: [writ")
    assert [a.ae_title for a in load(tmp_path).applications] == ["A", "B"]


def test_an_empty_folder_is_a_configuration_and_an_absent_one_a_fault(tmp_path: Path) -> None:
    assert load(tmp_path).applications == ()
    with pytest.raises(ConfigError, match="is no folder"):
        load(tmp_path / "absent")


def test_the_version_names_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: A}]\n")
    one = load(tmp_path).version
    assert load(tmp_path).version == one
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: B}]\n")
    assert load(tmp_path).version != one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("applications:\n- ae-title: A\n", "applications:\n- ae-title: B\n- ae-title: A\n"),
        ("sources:\n- {ae-title: A, hosts: [h]}\n",
         "sources:\n- {ae-title: B, hosts: [h]}\n- {ae-title: A, hosts: [i]}\n"),
        ("destinations:\n- {name: A, folder: x}\n",
         "destinations:\n- {name: B, folder: x}\n- {name: a, folder: y}\n"),
    ],
)  # fmt: skip
def test_the_same_name_twice_names_both_lines(tmp_path: Path, one: str, other: str) -> None:
    (fault,) = faults(tmp_path, one=one, other=other)
    assert (Path(fault.file).name, fault.line) == ("other.yaml", 3)
    assert f"{tmp_path}/one.yaml:2" in fault.message


def test_titles_that_are_no_text_are_compared_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("applications: [{ae-title: A}, {ae-title: a}]\n")
    assert len(load(tmp_path).applications) == 2


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("applications:\n- ae-title: SEVENTEEN_LETTERS\n", 2, "applications[0].ae-title",
         "1 to 16 printable"),
        ("applications:\n- ae-title: ' A'\n", 2, "applications[0].ae-title", "no AE title"),
        ("applications:\n- ae-title: 'A\\B'\n", 2, "applications[0].ae-title", "no backslash"),
        ("applications:\n- ae-title: ''\n", 2, "applications[0].ae-title", "no AE title"),
        ("applications:\n- group-by: study\n", 2, "applications[0].ae-title", "is required"),
        ("applications:\n- ae-title: A\n  group-by: week\n", 3, "applications[0].group-by",
         "'patient', 'study' or 'series'"),
        ("applications:\n- ae-title: A\n  rule: []\n", 3, "applications[0].rule",
         "unknown key; allowed: accept, ae-title"),
        ("applications:\n- ae-title: A\n  accept: {sop-classes: [CT]}\n", 3,
         "applications[0].accept.sop-classes[0]", "is no UID"),
        ("applications:\n- ae-title: A\n  complete-when: {quiet-seconds: -1}\n", 3,
         "applications[0].complete-when.quiet-seconds", "greater than 0"),
        ("applications:\n- ae-title: A\n  rules:\n  - {name: r, pipeline: p, priority: top}\n", 4,
         "applications[0].rules[0].priority", "'lower', 'normal', 'higher' or 'immediate'"),
        ("applications:\n- ae-title: A\n  rules:\n  - {name: r}\n", 4,
         "applications[0].rules[0].pipeline", "is required"),
        (NOWHERE, 6, "applications[0].rules[0].destinations[1]",
         "no destination is named 'NOWHERE'; known: folder"),
        ("sources:\n- {ae-title: A, hosts: []}\n", 2, "sources[0].hosts", "at least 1"),
        ("sources:\n- {ae-title: A, hosts: [10.0.0.0/40]}\n", 2, "sources[0].hosts[0]",
         "no address, network"),
        ("sources:\n- {ae-title: A, hosts: ['a b']}\n", 2, "sources[0].hosts[0]",
         "no address, network"),
        ("destinations:\n- {name: D}\n", 2, "destinations[0]", "or folder"),
        ("destinations:\n- {name: D, folder: x, host: h}\n", 2, "destinations[0]", "not both"),
        ("destinations:\n- {name: D, ae-title: A, host: h, port: 0}\n", 2, "destinations[0].port",
         "greater than or equal to 1"),
        ("destinations:\n- {name: D, ae-title: A, host: h, port: 1, associations: 17}\n", 2,
         "destinations[0].associations", "less than or equal to 16"),
        ("destinations:\n- {name: D, folder: x, associations: 2}\n", 2, "destinations[0]",
         "a folder takes no associations"),
        ("sources:\n- {ae-title: A, hosts: [h], tls: true}\n", 2, "sources[0]", "it needs port"),
        ("apps: []\n", 1, "apps", "unknown key; allowed: applications, destinations, sources"),
        ("applications: LUNG\n", 1, "applications", "list"),
        ("- x\n", 1, "", "dictionary"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, line: int, key: str, message: str
) -> None:
    found = faults(tmp_path, a=text)
    assert [(f.line, f.key) for f in found] == [(line, key)]
    assert message in found[0].message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.0.0/16", "10.1.2.3/16", "::1", "fd00::/8", "ct1",
             "ct-1.example.org", "cafe", "10-1.example", "bad-cafe.org"],
)  # fmt: skip
def test_hosts_that_are_allowed(tmp_path: Path, host: str) -> None:
    (tmp_path / "a.yaml").write_text(f"sources: [{{ae-title: A, hosts: ['{host}']}}]\n")
    assert load(tmp_path).sources[0].hosts == [host]


def test_a_rule_name_twice_is_refused(tmp_path: Path) -> None:
    (fault,) = faults(
        tmp_path,
        a="applications:\n- ae-title: A\n  rules:\n  - {name: r, pipeline: p}\n"
        "  - {name: r, pipeline: q}\n",
    )
    assert (fault.line, fault.key) == (2, "applications[0]")
    assert "'r' stands twice" in fault.message


def test_faults_of_all_files_are_reported_together(tmp_path: Path) -> None:
    found = faults(tmp_path, a="applications: [{}]\n", b="x: [\n", c="sources: [{ae-title: A}]\n")
    assert [Path(f.file).name for f in found] == ["a.yaml", "b.yaml", "c.yaml"]


def test_destinations_may_stand_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "applications: [{ae-title: A, rules: [{name: r, pipeline: p, destinations: [PACS]}]}]\n"
    )
    (tmp_path / "z.yaml").write_text("destinations: [{name: pacs, folder: /out}]\n")
    assert load(tmp_path).applications[0].rules[0].destinations == ["PACS"]


def test_expressions_are_checked_by_the_caller_s_check(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "applications:\n- ae-title: A\n  rules:\n  - name: r\n    pipeline: p\n    when: bad\n"
    )

    def check(rule: Rule) -> Iterator[tuple[str, str]]:
        if rule.when == "bad":
            yield "when", "is bad"

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, check)
    (fault,) = caught.value.faults
    assert (fault.line, fault.key, fault.message) == (6, "applications[0].rules[0].when", "is bad")
