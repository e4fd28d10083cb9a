"""base-inference against a real Triton: the seed's configuration, both protocols, geometry."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from gateway.operators.base_inference import Application
from gateway.operators.sdk import run
from tests.support.inference import PRE, SEED_MODEL, seed_config
from tests.support.triton import Triton

pytestmark = pytest.mark.peers

AFFINE = np.array(
    [[-0.9, 0.1, 0.0, 40.0], [0.1, 0.9, 0.0, -30.0], [0.0, 0.0, 2.5, 15.0], [0, 0, 0, 1.0]]
)
SHAPE = (52, 44, 18)


def organs(shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of two boxes: 84 HU = label 1, 189 HU = label 2, between them -100 HU."""
    labels = np.zeros(shape, np.uint8)
    labels[8:24, 10:30, 3:14] = 1
    labels[28:46, 16:38, 5:16] = 2
    return np.array([-100, 84, 189], np.int16)[labels], labels


class Trial:
    """Runs the operator as the gateway does: paths and addresses by environment."""

    def __init__(self, folder: Path) -> None:
        self.input, self.output = folder / "input", folder / "output"
        self.config = folder / "config"
        self.input.mkdir()
        self.config.mkdir()

    def run(
        self, config: Any, model: Any = None, environ: dict[str, str] | None = None
    ) -> tuple[int, str]:
        text = config if isinstance(config, str) else json.dumps(config)
        (self.config / "config_inference.json").write_text(text)
        if model is not None:
            (self.config / "model_config.json").write_text(json.dumps(model))
        given = {
            "NVIDIA_CLARA_INPUTPATHS": f"input:{self.input}",
            "NVIDIA_CLARA_OUTPUTPATHS": f"output:{self.output}",
            "BASE_INFERENCE_CONFIG": str(self.config),
            **(environ or {}),
        }
        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            code = run("base-inference", Application().main, argv=[], environ=given)
        return code, log.getvalue()

    def result(self, name: str = "ct.nii.gz") -> Any:
        return nibabel.load(self.output / name)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def put_nifti(trial: Trial, hu: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nibabel.save(nibabel.Nifti1Image(hu, affine), trial.input / "ct.nii.gz")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_the_seeds_configuration_labels_both_organs_on_the_files_own_grid(
    trial: Trial, triton: Triton
) -> None:
    hu, labels = organs()
    put_nifti(trial, hu)
    code, log = trial.run(seed_config(triton.http_port), SEED_MODEL)
    assert code == 0, log
    found = trial.result()
    assert found.shape == SHAPE
    assert np.array_equal(found.affine, nibabel.load(trial.input / "ct.nii.gz").affine)
    given = np.asarray(found.dataobj)
    assert given.dtype == np.uint8
    # Between background and the brighter organ linear resampling passes the darker one's values.
    assert dice(given > 0, labels > 0) > 0.95
    assert min(dice(given == label, labels == label) for label in (1, 2)) > 0.85
    record = json.loads((trial.output / "inference.json").read_text())
    assert record["model"] == "segmentation_liver_v1"
    assert record["files"] == ["ct.nii.gz"]


def test_metaimage_comes_back_as_metaimage_and_grpc_wins_over_the_file(
    trial: Trial, triton: Triton
) -> None:
    hu, labels = organs()
    image = SimpleITK.GetImageFromArray(hu.transpose(2, 1, 0))
    image.SetSpacing([0.9, 0.9, 2.5])
    image.SetOrigin([-12.0, 7.5, 30.0])
    image.SetDirection([0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    SimpleITK.WriteImage(image, str(trial.input / "ct.mhd"))
    config = seed_config(triton.http_port)
    config["inferer"]["args"]["port"] = 9
    code, log = trial.run(config, SEED_MODEL, {"NVIDIA_TRITON_GRPCURI": triton.grpc})
    assert code == 0, log
    found = SimpleITK.ReadImage(str(trial.output / "ct.mhd"))
    for of in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
        assert getattr(found, of)() == pytest.approx(getattr(image, of)())
    given = SimpleITK.GetArrayFromImage(found).transpose(2, 1, 0)
    assert dice(given > 0, labels > 0) > 0.95


@pytest.mark.parametrize(
    ("model", "spec", "factor"),
    [
        ("doubles", None, 2.0),
        ("halves_float16", None, 0.5),
        ("doubles_last", {"data_format": "channels_last"}, 2.0),
    ],
)
def test_simple_and_scanned_inference_give_the_models_own_values(
    trial: Trial, triton: Triton, model: str, spec: Any, factor: float
) -> None:
    rng = np.random.default_rng(3)
    hu = rng.integers(0, 100, (21, 34, 9)).astype(np.float32)
    put_nifti(trial, hu)
    window = {"roi_size": [16, 10, 12], "batch_size": 3, "overlap": 0.4}
    for name, args in (("TritonSimpleInferer", {}), ("TritonScanWindowInferer", window)):
        config = {
            "pre_transforms": PRE[:2],
            "post_transforms": [{"name": "Invert", "args": {"field": "model", "is_label": False}}],
            "inferer": {"name": name, "args": {"model_name": model, **args}},
        }
        code, log = trial.run(config, spec, triton.environ)
        assert code == 0, log
        given = np.asarray(trial.result().dataobj)
        np.testing.assert_allclose(given, hu * factor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("no_such_model", "MODEL_MISSING", "segmentation_liver_v1"),
        ("broken", "MODEL_NOT_READY", "the weights are not there"),
        ("fails", "INFERENCE_FAILED", "Singular matrix"),
        ("takes_integers", "TYPE_DIFFERS", "INT32"),
        ("segmentation_liver_v1", "SHAPE_DIFFERS", "24"),
        ("answers_less", "SHAPE_DIFFERS", "answered"),
    ],
)
def test_what_is_wrong_with_a_model_is_named(
    trial: Trial, triton: Triton, model: str, code: str, words: str, protocol: str
) -> None:
    put_nifti(trial, organs((20, 20, 20 if model != "answers_less" else 21))[0])
    config = {
        "pre_transforms": PRE[:2],
        "inferer": {"name": "TRTISSimpleInferer", "args": {"model_name": model}},
    }
    variable = {"grpc": "NVIDIA_TRITON_GRPCURI", "http": "NVIDIA_CLARA_TRTISURI"}[protocol]
    status, log = trial.run(config, None, {variable: getattr(triton, protocol)})
    last = json.loads(log.splitlines()[-1])
    assert (status, last["code"]) == (1, code), log
    assert words in last["message"]


def test_a_spec_file_must_agree_with_the_server(trial: Trial, triton: Triton) -> None:
    put_nifti(trial, organs()[0])
    config = seed_config(triton.http_port)
    config["model_loader"]["args"]["model_spec_file_name"] = "{SPEC}/config.pbtxt"
    spec = trial.config / "config.pbtxt"
    text = """name: "segmentation_liver_v1" max_batch_size: 4
        input [ { name: "cond/Merge" data_type: TYPE_FP32 dims: [ 1, 24, 24, 24 ] } ]
        output [ { name: "NV_OUTPUT_LABEL" data_type: TYPE_FP32 dims: [ 3, 24, 24, 24 ] } ]"""
    spec.write_text(text)
    code, log = trial.run(config, SEED_MODEL, {"SPEC": str(trial.config)})
    assert code == 0, log
    spec.write_text(text.replace("3, 24", "2, 24"))
    code, log = trial.run(config, SEED_MODEL, {"SPEC": str(trial.config)})
    assert code == 1
    assert "MODEL_SPEC_DIFFERS" in log


def test_a_server_that_is_not_there_is_named(trial: Trial, triton: Triton) -> None:
    put_nifti(trial, organs()[0])
    config = seed_config(triton.http_port)
    config["inferer"]["args"] |= {"port": 9, "ready_seconds": 0.5}
    code, log = trial.run(config, SEED_MODEL)
    assert code == 1
    assert "TRITON_UNREACHABLE" in log


def test_the_readers_volume_is_taken_and_named(
    trial: Trial, triton: Triton, make_slice: Callable[..., Any]
) -> None:
    source = trial.input.parent / "dcm"
    source.mkdir()
    hu, labels = organs((32, 28, 10))
    for k in range(10):
        pixels = (hu[:, :, k].T + 1024).astype(np.uint16)
        make_slice(k, pixels).save_as(source / f"{k}.dcm", enforce_file_format=True)
    reader = [sys.executable, "-m", "gateway.operators.dicom_reader", "--format", "nifti"]
    subprocess.run(
        [*reader, "--input", str(source), "--output", str(trial.input)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    config = seed_config(triton.http_port)
    config["pre_transforms"] = [*PRE[:2], {"name": "Orientationd", "args": {
        "keys": "image", "axcodes": "RAS"}}, PRE[3]]  # fmt: skip
    config["writers"] = [
        {"name": "WriteNifti", "args": {"field": "model", "dtype": "int16"}},
        {"name": "WriteMetaImage"},
    ]
    code, log = trial.run(config, SEED_MODEL)
    assert code == 0, log
    record = json.loads((trial.output / "inference.json").read_text())
    uid = record["source"]["series_instance_uid"]
    assert record["files"] == [f"{uid}.nii.gz", f"{uid}.mhd"]
    found = trial.result(f"{uid}.nii.gz")
    assert found.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(found.dataobj), labels)
    assert np.array_equal(found.affine, nibabel.load(trial.input / f"{uid}.nii.gz").affine)
