"""A model repository for the operators that ask Triton: the shipped model and small known ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.triton import python_model

MODELS = Path(__file__).resolve().parents[2] / "models"
CHEST = "chest_xray_findings"
BROKEN = "broken"
"""A model that cannot be loaded."""

_CONFIG = """
max_batch_size: {batch}
input [ {{ name: "{input}" data_type: TYPE_{kind} dims: {dims} }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: {out} }} ]
instance_group [ {{ kind: KIND_CPU }} ]
"""
_SOURCE = """
import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = triton.get_input_tensor_by_name(request, "{input}").as_numpy()
            result = triton.Tensor("{output}", numpy.asarray({formula}, numpy.float32))
            answers.append(triton.InferenceResponse([result]))
        return answers
"""
_BROKEN = """
class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError("the weights are not there")

    def execute(self, requests):
        return []
"""


def _model(
    repository: Path,
    name: str,
    formula: str,
    *,
    batch: int = 0,
    kind: str = "FP32",
    dims: str = "[ 1, -1, -1, -1 ]",
    out: str = "[ 1, -1, -1, -1 ]",
    tensors: tuple[str, str] = ("x", "y"),
) -> None:
    source, target = tensors
    config = _CONFIG.format(batch=batch, input=source, output=target, kind=kind, dims=dims, out=out)
    code = _SOURCE.format(input=source, output=target, formula=formula)
    python_model(repository, name, config, code)


def make_repository(folder: Path) -> Path:
    """Fill a folder with models; what each computes stands in its formula."""
    shutil.copytree(MODELS / CHEST, folder / CHEST, ignore=shutil.ignore_patterns("__pycache__"))
    # The seed's example: two organs told by brightness, in windows of 24 voxels.
    _model(
        folder,
        "segmentation_liver_v1",
        "numpy.concatenate([-(x - c) ** 2 for c in (0.0, 0.5, 1.0)], axis=1)",
        batch=4,
        dims="[ 1, 24, 24, 24 ]",
        out="[ 3, 24, 24, 24 ]",
        tensors=("cond/Merge", "NV_OUTPUT_LABEL"),
    )
    _model(folder, "doubles", "2 * x")
    _model(folder, "doubles_last", "2 * x", dims="[ -1, -1, -1, 1 ]", out="[ -1, -1, -1, 1 ]")
    _model(folder, "halves_float16", "x.astype(numpy.float32) / 2", kind="FP16")
    _model(folder, "takes_integers", "x", kind="INT32")
    _model(folder, "fails", "numpy.linalg.inv(numpy.zeros((2, 2)))")
    _model(folder, "answers_less", "x[:, 1:]")
    python_model(
        folder, BROKEN, _CONFIG.format(
            batch=0, input="x", output="y", kind="FP32", dims="[ 1 ]", out="[ 1 ]"
        ), _BROKEN,
    )  # fmt: skip
    return folder
