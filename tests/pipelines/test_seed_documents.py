"""The documents of the survey: they are registered, drawn, and their operators listed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.database.engine import Database
from gateway.pipelines import registry
from gateway.pipelines.cells import Cells
from gateway.pipelines.compiling import compiled
from gateway.pipelines.drawing import svg
from gateway.pipelines.graph import levels, lines
from gateway.pipelines.parse import parse
from tests.support.databases import database_url

SEED = Path(__file__).parent / "seed"
AI = [f"{organ}-segmentation" for organ in ("lung-tumor", "colon-tumor", "liver-tumor", "spleen")]
OPERATORS = {
    "chest-xray": [["ai-app-chestxray"]],
    "denovo-assembly": [["mapper"], ["miniasm"], ["racon"]],
    "multi-ai": [["roi-split"], AI, ["volume-merger"], ["register-volume-images-for-multi-organ"]],
    "typed-chest-xray": [["gradient"], ["ai-app-chestxray"], ["register-dicom-output"]],
}


def definition(name):
    path = SEED / f"{name}.yaml"
    return parse(path.read_text("utf-8"), str(path), host_volumes=())


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    database = Database(database_url(tmp_path_factory.mktemp("seed")))
    database.create()
    with database.begin() as connection:
        yield registry.load_folder(connection, SEED)
    database.close()


def test_all_are_registered(loaded):
    assert loaded.faults == ()
    assert len(loaded.pipelines) == len(OPERATORS)
    for pipeline in loaded.pipelines:
        found = OPERATORS[Path(pipeline.file).stem]
        names = [o.name for o in pipeline.definition.operators]
        assert sorted(names) == sorted(name for level in found for name in level)


@pytest.mark.parametrize("name", OPERATORS)
def test_their_graph_is_shown(name):
    whole = definition(name)
    assert [list(level) for level in levels(whole)] == OPERATORS[name]
    assert len(lines(whole)) == len(whole.operators)
    drawn = ET.fromstring(svg(whole))  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    boxes = drawn.findall(f"{space}rect")
    assert len(boxes) == 1 + len(whole.operators)
    edges = drawn.findall(f"{space}path")
    assert len(edges) == sum(len(o.inputs) + len(o.data_inputs) for o in whole.operators)
    areas = [tuple(float(b.get(k)) for k in ("x", "y", "width", "height")) for b in boxes]
    for i, (x, y, w, h) in enumerate(areas):
        for x2, y2, w2, h2 in areas[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y, "boxes overlap"
    _, _, width, height = map(float, drawn.get("viewBox").split())
    assert all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in areas)


@pytest.mark.parametrize("name", OPERATORS)
def test_compiling_changes_nothing_that_they_say(name):
    path = SEED / f"{name}.yaml"
    text = compiled(path.read_text("utf-8"), str(path), resolve_imports=True)
    assert parse(text, "again.yaml") == definition(name)


def test_the_assembly_takes_its_parameters_and_the_job():
    path = SEED / "denovo-assembly.yaml"
    with_job = registry.resolve(path.read_text("utf-8"), "d", {"MAPPER_THREADS": "7"}, "ab" * 16)
    mapper = with_job.operator("mapper")
    assert (mapper.image, mapper.tag) == ("clara/genomics-analysis", "0.5")
    assert f"-d /mapperOutput/{'ab' * 16} " in mapper.command[2]
    assert "-t 7 -k 15" in mapper.command[2]


def test_the_typed_one_hands_an_array_on():
    gradient, chest, register = definition("typed-chest-xray").operators
    (given,) = gradient.data_outputs
    assert (given.name, given.cells) == ("gradient_date", Cells("float32", (3, 244, 244, -1)))
    (taken,) = chest.data_inputs
    assert (taken.source, taken.cells) == ("gradient", Cells("float32", (3, 244, 244, 127)))
    assert [(o.path, o.name, o.element_type) for o in chest.outputs] == [
        ("/output", "dicom_date", "dicom")
    ]
    assert register.upstream == ("ai-app-chestxray",)
    assert chest.upstream == ("gradient",)
