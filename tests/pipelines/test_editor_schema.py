from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gateway.pipelines import editor_schema
from tests.support.faulty_pipelines import ALL
from tests.support.json_schema import complaints

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "reference" / "pipeline.schema.json"
GOOD = [
    *(ROOT / "pipelines").glob("*.yaml"),
    *(ROOT / "tests" / "pipelines" / "seed").glob("*.yaml"),
]
SCHEMA = editor_schema.schema()


def seen(text: str) -> list[str]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    return list(complaints(SCHEMA, data))


def test_the_published_schema_is_current():
    assert PUBLISHED.read_text("utf-8") == editor_schema.text(), "run make docs"
    assert json.loads(PUBLISHED.read_text("utf-8"))["$schema"].startswith("https://json-schema.org")


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.name)
def test_good_documents_are_accepted(path):
    assert seen(path.read_text("utf-8")) == []


def test_placeholders_may_stand_where_a_value_is_checked():
    text = """
api-version: 0.5.0
name: p
parameters: {C: 2, W: 512, I: img, T: 1}
operators:
- name: r
  import: {path: r.yaml, args: {C: "${{ C }}", N: 3, B: true}}
- name: a
  parameters: {D: in}
  container: {image: "x/${{I}}", tag: "${{ T }}"}
  requests: {cpu: "${{ C }}", memory: "${{ W }}", gpu: "1"}
  input: [{path: "/${{ D }}"}]
  output: [{name: x, type: array, element-type: f32, shape: ["${{ W }}", -1]}]
  services: [{import: {path: s.yaml}}]
"""
    assert seen(text) == []


@pytest.mark.parametrize("faulty", ALL, ids=lambda f: f.name.replace(" ", "-"))
def test_an_editor_sees_what_one_value_tells(faulty):
    assert bool(seen(faulty.text)) is faulty.editor, seen(faulty.text)
