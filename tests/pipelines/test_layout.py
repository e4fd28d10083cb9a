from __future__ import annotations

from pathlib import Path

from gateway.pipelines import layout
from gateway.pipelines.model import Definition, Input, Operator, Output

FOLDER = Path("/data/payloads/1")
UNNAMED = Operator("plain", "i", outputs=(Output("/output"),))
SINGLE = Operator("single", "i", outputs=(Output("/out", "only"),))
SEVERAL = Operator("several", "i", outputs=(Output("/a", "A"), Output("/b", "B")))
NONE = Operator("none", "i", inputs=(Input("/output/dcm"),))


def test_outputs_have_their_folders():
    assert layout.output_dir(FOLDER, UNNAMED, None) == FOLDER / "operators/plain"
    assert layout.output_dir(FOLDER, SINGLE, "only") == FOLDER / "operators/single/only"
    assert layout.output_dir(FOLDER, SEVERAL, "B") == FOLDER / "operators/several/B"


def test_inputs_come_from_the_payload_or_upstream():
    definition = Definition("0.4.0", "p", (UNNAMED, SINGLE, SEVERAL, NONE))
    sources = [
        (Input("/i"), "input"),
        (Input("/i", "plain"), "operators/plain"),
        (Input("/i", "plain", "any"), "operators/plain"),
        (Input("/i", "single"), "operators/single/only"),
        (Input("/i", "several", "B"), "operators/several/B"),
    ]
    for item, path in sources:
        assert layout.source_dir(FOLDER, definition, item) == FOLDER / path


def test_results_lie_in_the_first_output():
    name = layout.RESULTS_NAME
    assert layout.results_file(FOLDER, SEVERAL) == FOLDER / "operators/several/A" / name
    assert layout.results_path(SEVERAL) == f"/a/{name}"
    assert layout.results_file(FOLDER, NONE) == FOLDER / "operators/none" / name
    assert layout.results_path(NONE) == f"/output-own/{name}"
    assert layout.results_path(Operator("x", "i")) == f"/output/{name}"
