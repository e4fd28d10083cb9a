"""base-inference: a volume, transforms and a model of a Triton server, joined by configuration.

Run it as `python -m gateway.operators.base_inference --input FOLDER --output FOLDER --config
FOLDER`. It is a base: a copy of your MMAR's `config_inference.json` (and `model_config.json`) makes
it your operator; `Application` and `default_registry` take what the configuration cannot say.

Input: one volume (`.nii`, `.nii.gz`, `.mhd`), or what `dicom-reader` wrote (of its volumes the one
with the most slices). Configuration: `--config`, else `$BASE_INFERENCE_CONFIG`, else
`app_base_inference/config` or `config` below the working folder.

Output: the model's answer after the post-transforms, named as the input and in its format unless
`writers` say otherwise, and `inference.json`::

    {"version": 1, "algorithm": {"name": ..., "version": ...}, "model": "segmentation_liver_v1",
     "source": {"study_instance_uid": ..., "series_instance_uid": ..., "volume": "<uid>.nii.gz"},
     "not_used": ["<series uid>", ...], "files": ["<uid>.nii.gz"]}

The server is the one of `NVIDIA_TRITON_GRPCURI`, `NVIDIA_TRITON_HTTPURI`, `CLARA_TRITON_URI` or
`NVIDIA_CLARA_TRTISURI` (the first that is set), else `ip`, `port` and `protocol` of the inferer.

Exit code 2: NO_CONFIG, BAD_CONFIG (file, key, what is allowed), NO_IMAGE, NO_CHANNELS,
NO_MODEL_NAME, NO_WINDOW_SIZE, WHICH_INPUT, WHICH_OUTPUT, FIELD_UNKNOWN, BAD_MODEL_SPEC, NO_TRITON,
BAD_TRITON_ADDRESS, NO_GRPC_CLIENT. Exit code 3: NO_VOLUME, SEVERAL_VOLUMES, NO_SERIES_LIST,
VOLUME_UNREADABLE, GANTRY_TILT. Exit code 1: TRITON_UNREACHABLE, MODEL_MISSING, MODEL_NOT_READY,
MODEL_SPEC_DIFFERS, SHAPE_DIFFERS, TYPE_DIFFERS, INPUT_UNKNOWN, OUTPUT_UNKNOWN, INFERENCE_FAILED,
TOO_LARGE, NO_FOREGROUND, DTYPE_TOO_SMALL, SEVERAL_CHANNELS, TOO_MANY_LABELS.
"""

from __future__ import annotations

from gateway.operators.base_inference.application import Application
from gateway.operators.base_inference.catalogue import default_registry
from gateway.operators.base_inference.registry import Registry
from gateway.operators.base_inference.volume import Fields, Volume

__all__ = ["Application", "Fields", "Registry", "Volume", "default_registry"]
