"""A model repository for the operators that ask Triton: the shipped model and small known ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

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


PRE: list[dict[str, Any]] = [
    {"name": "LoadNifti", "args": {"fields": "image", "as_closest_canonical": "false"}},
    {"name": "ConvertToChannelsFirst", "args": {"fields": ["image"]}},
    {
        "name": "ScaleByResolution",
        "args": {"fields": ["image"], "target_resolution": [1.0, 1.0, 1.0]},
    },
    {
        "name": "ScaleIntensityRange",
        "args": {
            "fields": "image", "a_min": -21, "a_max": 189, "b_min": 0.0, "b_max": 1.0, "clip": True,
        },
    },
]  # fmt: skip
POST: list[dict[str, Any]] = [
    {"name": "ArgmaxAcrossChannels", "args": {"fields": "model"}},
    {"name": "FetchExtraDims", "args": {"fields": ["model"]}},
    {
        "name": "RestoreOriginalShape",
        "args": {"field": "model", "src_field": "image", "is_label": True},
    },
    {
        "name": "CopyProperties",
        "args": {
            "fields": ["model"],
            "from_field": "image",
            "properties": ["affine", "original_affine", "as_canonical"],
        },
    },
]


def seed_config(http_port: int) -> dict[str, Any]:
    """What the seed shows, with the port of a server of this machine."""
    return {
        "batch_size": 1,
        "pre_transforms": PRE,
        "post_transforms": POST,
        "inferer": {
            "name": "TRTISScanWindowInferer",
            "args": {
                "model_name": "segmentation_liver_v1",
                "ip": "127.0.0.1",
                "port": http_port,
                "protocol": "HTTP",
            },
        },
        "model_loader": {
            "name": "TRTISModelLoader",
            "args": {"model_spec_file_name": "{PBTXT_PATH}"},
        },
    }


SEED_MODEL = {
    "model_name": "segmentation_liver_v1",
    "input_node_names": ["cond/Merge"],
    "output_node_names": ["NV_OUTPUT_LABEL"],
    "data_format": "channels_first",
    "output_channel_dict": {"NV_OUTPUT_LABEL": 3},
    "network_input_size": [24, 24, 24],
}
"""Its ``model_config.json``, for the windows of the model of :func:`make_repository`."""
