# ruff: noqa: E501 - a table of faults reads best with one line for each
from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.document import ConfigError
from gateway.pipelines.model import Input, Output, Requests
from gateway.pipelines.orchestration import note, notes
from gateway.pipelines.parse import parse, resolve

FULL = """\
api-version: 0.4.0
name: Chest_CT-1
description: whole
orchestrator: Clara
pull-secrets: [ngc-clara]
timeout: 90
parameters: {threshold: 0.5, fast: true, cores: "2"}
x-gateway: {retries: 1, network: true, labels: {site: a}}
operators:
- name: reader
  api-version: 0.4.0
  description: reads
  container:
    image: nvcr.io/nvidia/clara/dicom-reader
    tag: 0.7
    command: [run, "${{threshold}}", "${{ fast }}-${{JOB_ID}}", 3, false]
    variables: {IN_CONTAINER: 1.5}
  variables: {AT_OPERATOR: "yes", TEMPLATED: "${{ threshold }}"}
  requests: {cpu: "${{cores}}", memory: 2048, gpu: 1}
  input:
  - path: /input/
  - {path: /dcm, name: again}
  output:
  - {path: /output/a, name: Mask}
  - {path: /output/b, name: image}
- name: writer
  container: {image: w}
  input:
  - {path: /seg, from: READER, name: mask}
  x-gateway: {network: false, retries: 2, labels: {x: 1}}
  services:
  - name: trtis
    container: {image: nvcr.io/tensorrtserver, tag: 19.08-py3, command: [trtserver, "--model-store=$(NVIDIA_CLARA_SERVICE_DATA_PATH)/models"]}
    requests: {gpu: 1}
    connections:
      http: [{name: NVIDIA_CLARA_TRTISURI, port: 8000}]
      volume: [{name: MODELS, path: /models}]
      file: [{name: OLDER, path: /old}]
"""

MINIMAL = "api-version: 0.4.0\nname: p\noperators:\n"


def faults(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    return [str(f) for f in caught.value.faults]


def test_a_whole_definition():
    d = resolve(FULL, "p.yaml", {"threshold": "9"}, "j" * 32)
    assert (d.name, d.api_version, d.orchestrator, d.timeout) == (
        "Chest_CT-1",
        "0.4.0",
        "Clara",
        90,
    )
    assert (d.pull_secrets, d.retries, d.labels) == (("ngc-clara",), 1, {"site": "a"})
    assert d.parameters == {"threshold": "0.5", "fast": "true", "cores": "2"}
    reader, writer = d.operators
    assert reader.command == ("run", "9", "true-" + "j" * 32, "3", "false")
    assert reader.variables == {"AT_OPERATOR": "yes", "TEMPLATED": "9", "IN_CONTAINER": "1.5"}
    assert reader.requests == Requests(2, 2048, 1)
    assert reader.inputs == (Input("/input"), Input("/dcm", None, "again"))
    assert reader.outputs == (Output("/output/a", "Mask"), Output("/output/b", "image"))
    assert (reader.network, writer.network, writer.retries) == (True, False, 2)
    assert writer.inputs == (Input("/seg", "reader", "Mask"),)
    assert writer.requests == Requests(1, 512, 0)
    assert writer.labels == {"x": "1"}
    (service,) = writer.services
    assert service.command[1] == "--model-store=$(NVIDIA_CLARA_SERVICE_DATA_PATH)/models"
    assert [(h.name, h.port) for h in service.http] == [("NVIDIA_CLARA_TRTISURI", 8000)]
    assert [v.path for v in service.volumes] == ["/models", "/old"]
    assert d.operator("WRITER") is writer


def test_without_arguments_the_defaults_stand():
    reader = parse(FULL, "p.yaml").operators[0]
    assert reader.command[1:3] == ("0.5", "true-" + "0" * 32)


def test_a_value_adds_nothing_but_itself():
    value = "x]\n  bogus: ${{ fast }}"
    command = resolve(FULL, "p.yaml", {"threshold": value}).operators[0].command
    assert command[1] == value


def op(*lines):
    return (
        MINIMAL + "- name: a\n  container: {image: i}\n" + "".join(f"  {line}\n" for line in lines)
    )


TWO = """\
- name: a
  container: {image: i}
  output: [{path: /x, name: one}, {path: /y, name: two}]
- name: b
  container: {image: i}
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[]", 1, "must be a mapping"),
        ("name: p\n", 1, "api-version: is required; supported are 0.2.0"),
        ("api-version: 0.8.0\nname: p\nmodels: []", 1, "0.8.0 is not supported; supported are 0.2.0, 0.3.0"),
        ("name: p\napi-version: 0.1.0\n", 2, "0.1.0 is not supported"),
        ("api-version: 0.4\n", 1, "'0.4' is no version"),
        ("api-version: 0.4.0\n---\napi-version: 0.4.0\n", 2, "is not YAML"),
        ("api-version: 0.4.0\nname: p\n", None, "operators: is required"),
        ("api-version: 0.4.0\nname: p\noperators: []\n", 3, "operators: list should have at least 1"),
        ("api-version: 0.4.0\nname: a b\noperators: []\n", 2, "'a b' is no name"),
        (op("bogus: 1"), 6, "operators[0].bogus: unknown key; allowed: api-version, container"),
        (op("requests:", "  cpus: 2"), 7, "operators[0].requests.cpus: unknown key; allowed: cpu, gpu"),
        (op("requests: {cpu: 0}"), 6, "operators[0].requests.cpu"),
        (op("requests: {memory: true}"), 6, "operators[0].requests.memory: must be a number"),
        (op("variables: {1A: x}"), 6, "no name of a variable"),
        (op("variables: {A: null}"), 6, "must be text"),
        (op("variables: {NVIDIA_CLARA_JOBID: x}"), 6, "set by the gateway"),
        (op("input: [{path: input}]"), 6, "must start with /"),
        (op("input: [{path: /a/../b}]"), 6, "must be plain"),
        (op("input: [{path: /}]"), 6, "must be a folder below /"),
        (op("input: [{path: //a}]"), 6, "must be plain"),
        (op("input: [{path: '/a;b'}]"), 6, "without control characters, ; and :"),
        (op("output: [{path: /usr/x}]"), 6, "lies in /usr"),
        (op("output: [{path: /proc}]"), 6, "lies in /proc"),
        (op("input: [{path: /a}]", "output: [{path: /a/b}]"), 7, "'/a/b' overlaps '/a' of line 6"),
        (op("input: [{path: /a}, {path: /a}]"), 6, "'/a' overlaps '/a'"),
        (op("output:", "- {path: /a, name: o}", "- path: /b"), 8, "output[1].name: is required when"),
        (op("output:", "- {path: /a, name: o}", "- {path: /b, name: O}"), 8, "the output 'O' stands here twice, first in line 7"),
        (op("input: [{path: /i, from: a}]", "output: [{path: /o}]"), 6, "waits for its own output"),
        (op("input: [{path: /i, from: none}]"), 6, "from: 'none' is no operator of this pipeline; there are: a"),
        (op("variables: {T: '${{ nope }}'}"), 6, "the placeholder 'nope' is not declared; declared: JOB_ID"),
        (op("description: '${{ }}'"), 6, "is no placeholder"),
        (op("api-version: 0.3.0"), 6, "must be the pipeline's 0.4.0"),
        (op("x-gateway: {retries: 99}"), 6, "x-gateway.retries"),
        (op("x-gateway: {nets: 1}"), 6, "unknown key; allowed: labels, network, retries"),
        (op("services:", "- {name: s, container: {image: i}, connections: {http: [{name: A, port: 80}]}}"), 7, "port"),
        (MINIMAL + "- {name: a, container: {image: i}}\n- {name: A, container: {image: i}}\n", 5, "the operator 'A' stands here twice, first in line 4"),
        (MINIMAL + "- {name: a, container: {image: i, variables: {A: 1}}, variables: {A: 2}}\n", 4, "A stands in line 4 already"),
        (MINIMAL + "- {name: ../a, container: {image: i}}\n", 4, "is no name"),
        (MINIMAL + "- {name: a, container: {image: '-x'}}\n", 4, "is no image name"),
        (MINIMAL + TWO + "  input: [{path: /i, from: a}]\n", 9, "name: is required: 'a' has the outputs one, two"),
        (MINIMAL + TWO + "  input: [{path: /i, from: a, name: three}]\n", 9, "'three' is no output of 'a'; it has: one, two"),
        (MINIMAL + TWO + "- {name: c, container: {image: i}, input: [{path: /i, from: b}]}\n", 9, "'b' has no output"),
        ("parameters: {JOB_ID: 1}\n" + op(), 1, "is the job's id"),
        ("parameters: {a: 1}\nparameters: {b: 1}\n" + op(), 2, "stands here twice"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(text, line, words):
    found = faults(text)
    where = "p.yaml:" if line is None else f"p.yaml:{line}: "
    assert any(f.startswith(where) and words in f for f in found), found


def test_every_fault_is_told_at_once():
    text = op("requests: {cpu: -1}", "bogus: 1", "input: [{path: x}]")
    assert len(faults(text)) == 3
    cycle = """
- {name: a, container: {image: i}, input: [{path: /i, from: c}], output: [{path: /o}]}
- {name: b, container: {image: i}, input: [{path: /i, from: a}], output: [{path: /o}]}
- {name: c, container: {image: i}, input: [{path: /i, from: b}], output: [{path: /o}]}
- {name: d, container: {image: i}, input: [{path: /i, from: c}], output: [{path: /i}]}
"""
    found = faults(MINIMAL + cycle)
    assert len([f for f in found if "cycle" in f]) == 3
    assert len([f for f in found if "overlaps" in f]) == 1


@pytest.mark.parametrize("arguments", [{"other": "1"}, {"JOB_ID": "1"}])
def test_an_argument_that_is_no_parameter_is_refused(arguments):
    with pytest.raises(ConfigError, match="no parameter"):
        resolve(FULL, "p.yaml", arguments, "j")


def test_older_language_runs_on_the_configured_engine_and_says_so():
    old = parse(op("output: [{path: /o}]").replace("0.4.0", "0.3.0"), "p.yaml")
    assert "Argo" in note(old, "process")
    assert note(old, "argo") is None
    assert note(old, "kubernetes") is None
    assert note(parse(FULL, "p.yaml"), "process") is None
    argo = parse(FULL.replace("orchestrator: Clara", "orchestrator: Argo"), "p.yaml")
    assert "orchestrator Argo" in note(argo, "container")


def test_models_ahead_of_their_version_are_taken_with_a_note():
    early = parse(op("models: [{name: lung}]"), "p.yaml")
    assert early.operators[0].models == ("lung",)
    (text,) = notes(early, "process")
    assert "models, which came with 0.6.0; the definition says 0.4.0" in text
    assert (
        notes(parse(op("models: [{name: lung}]").replace("0.4.0", "0.6.0"), "p"), "process") == ()
    )
    old = parse(op("output: [{path: /o}]").replace("0.4.0", "0.2.0"), "p.yaml")
    assert "api-version 0.2.0" in notes(old, "process")[0]


def test_definitions_that_ship_are_sound():
    folder = Path(__file__).parents[2] / "pipelines"
    for path in folder.glob("*.yaml"):
        parse(path.read_text(), str(path))
