"""Whatever stands in the place of any value, it is a definition or has faults: never a crash."""

from __future__ import annotations

import copy

import pytest
import yaml

from gateway.config.document import ConfigError
from gateway.pipelines.compiling import compiled
from gateway.pipelines.drawing import svg
from gateway.pipelines.graph import lines, needs
from gateway.pipelines.parse import parse

MAIN = """\
api-version: 0.6.0
name: p
orchestrator: Clara
pull-secrets: [a]
timeout: 5
parameters: {A: 1}
x-gateway: {retries: 1, labels: {a: b}}
operators:
- name: a
  import: {path: a.yaml, args: {B: "${{ A }}"}}
- name: b
  parameters: {C: x}
  container: {image: i, tag: t, command: [c], variables: {V: "${{ C }}"}}
  input:
  - {from: a, name: x, type: array, element-type: f32, shape: [1, -1]}
  - {from: a, name: s, path: /i, type: stream, format: dicom}
  requests: {cpu: 1, memory: 2, gpu: 0}
  models: [{name: m}]
"""
OPERATOR = """\
name: whole
parameters: {B: 2}
container: {image: i}
output:
- {name: x, type: array, element-type: float32, shape: [-1, 3]}
- {name: s, path: /o, type: stream, element-type: dicom}
services:
- name: s
  container: {image: j}
  connections: {http: [{name: H, port: 8000}], volume: [{name: W, path: /v}]}
"""
ODD = (
    None,
    True,
    -1,
    1.5,
    "",
    "x",
    "${{",
    "${{ A }}",
    "/",
    [],
    [[]],
    [1],
    {},
    {"name": "a"},
    "\x85é",
)


def places(data, at=()):
    yield at
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in list(inner):
        yield from places(value, (*at, key))


def changed(data, at, value):
    if not at:
        return value
    data = copy.deepcopy(data)
    place = data
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return data


def outcome(main, operator):
    faults, definition = (), None
    try:
        definition = parse(main, "p.yaml", {"a.yaml": operator})
    except ConfigError as error:
        faults = error.faults
    if definition is None:
        assert faults
        assert all(f.file in ("p.yaml", "a.yaml") and f.message for f in faults)
        return "faults"
    needs(definition)
    assert len(lines(definition)) == len(definition.operators)
    assert svg(definition)
    again = compiled(main, "p.yaml", {"a.yaml": operator}, resolve_imports=True)
    assert parse(again, "q.yaml") == definition
    return "good"


def test_it_is_good_as_it_is():
    assert outcome(MAIN, OPERATOR) == "good"


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_values_anywhere(odd):
    main, operator = yaml.safe_load(MAIN), yaml.safe_load(OPERATOR)
    seen = [outcome(yaml.safe_dump(changed(main, at, odd)), OPERATOR) for at in places(main)]
    seen += [outcome(MAIN, yaml.safe_dump(changed(operator, at, odd))) for at in places(operator)]
    assert seen.count("faults") > len(seen) / 3


def test_a_key_that_is_not_there_or_there_twice():
    main = yaml.safe_load(MAIN)
    for at in places(main):
        if at and isinstance(at[-1], str):
            without = changed(main, at[:-1], {})
            outcome(yaml.safe_dump(without), OPERATOR)
            renamed = changed(main, (*at[:-1], "import"), {"path": "a.yaml"})
            outcome(yaml.safe_dump(renamed), OPERATOR)
