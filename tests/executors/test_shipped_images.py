"""Operators that ship, started by the names that definitions give them."""

from __future__ import annotations

import json

import pytest

from gateway.jobs.executor import End
from gateway.pipelines.layout import results_file

OURS = "{image: gateway/register-results, tag: 0.1.0}"
CLARAS = """{image: nvcr.io/nvidia/clara/register-results, tag: 0.7.4-2008.1,
    command: [python, register.py, --agent, ClaraSCU, --data, '["PACS"]']}"""


@pytest.mark.parametrize("container", [OURS, CLARAS], ids=["ours", "clara's"])
def test_register_results_runs_in_its_sandbox(start, container):
    job = start(
        f"""
- name: writer
  container: {{image: test/sh, command: [sh, -c, "echo text > /output/report.txt"]}}
  output: [{{path: /output}}]
- name: register
  container: {container}
  requests: {{memory: 256}}
  input: [{{path: /input, from: writer}}]
"""
    )
    report = job.wait()
    assert report.ends["register"].end is End.COMPLETED, job.log("register")
    file = results_file(job.run.folder, job.run.definition.operator("register"))
    (registered,) = json.loads(file.read_text())["registrations"]
    assert registered["agent"] == "ClaraSCU"
    assert ("PACS" in json.dumps(registered)) is (container is CLARAS)
    assert [f["path"] for f in registered["files"]] == ["report.txt"]


SHIPPED = ("dicom-reader", "lung-density", "dicom-writer", "roi-generator", "organ-segmentation")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_operators_start_in_their_sandbox(start, name):
    job = start(
        f"""
- name: a
  container: {{image: gateway/{name}}}
  input: [{{path: /input}}]
  output: [{{path: /output}}]
"""
    )
    end = job.wait().ends["a"]
    # The input is no image: a refusal by name, not a missing module or file.
    assert end.end is End.EXIT_CODE
    lines = [json.loads(line) for line in job.log("a").splitlines()]
    assert lines[-1]["event"] == "operator.failed", lines
