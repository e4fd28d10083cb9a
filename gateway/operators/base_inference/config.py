"""Reads `config_inference.json` and `model_config.json`: every fault has file, key and what is
allowed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.operators.base_inference import arguments as a
from gateway.operators.base_inference.arguments import Argument, bad_config, read_arguments
from gateway.operators.base_inference.inferers import ModelSpec
from gateway.operators.base_inference.registry import (
    INFERER,
    LOADER,
    TRANSFORM,
    WRITER,
    Registry,
)
from gateway.operators.sdk import UsageError

INFERENCE_FILE: Final = "config_inference.json"
MODEL_FILE: Final = "model_config.json"
FILE_LIMIT: Final = 4 << 20
KEYS: Final = ("pre_transforms", "post_transforms", "inferer", "model_loader", "writers")
IGNORED: Final = ("batch_size", "multi_gpu", "use_amp", "use_scanning_window", "determinism")
"""Of training; they are accepted and have no effect here."""
MODEL_KEYS: Final = (
    Argument("model_name", a.TEXT, ""),
    Argument("input_node_names", a.TEXTS, ()),
    Argument("output_node_names", a.TEXTS, ()),
    Argument("data_format", a.choice("channels_first", "channels_last"), "channels_first"),
    Argument(
        "output_channel_dict",
        a.Kind("an object of output name to number of channels", lambda v: _channels(v)),
        {},
    ),
    Argument("network_input_size", a.optional(a.SIZE), None),
    Argument("network_output_size", a.optional(a.SIZE), None),
)


def _channels(value: Any) -> dict[str, int]:
    count = a.integer(1, 4096)
    if not isinstance(value, dict):
        raise TypeError
    return {str(name): count.read(number) for name, number in value.items()}


@dataclass(frozen=True)
class Config:
    """What the two files say, built: transforms, inferer, loader and writers are callables."""

    pre: tuple[tuple[str, Any], ...]
    post: tuple[tuple[str, Any], ...]
    inferer: tuple[str, Any]
    loader: tuple[str, Any]
    writers: tuple[tuple[str, Any], ...]
    spec: ModelSpec


def load_config(folder: Path, registry: Registry) -> Config:
    """Read both files of a folder; `model_config.json` may be absent.

    Raises:
        UsageError: NO_CONFIG, BAD_CONFIG.
    """
    content = _read(folder / INFERENCE_FILE)
    for key in content:
        if key not in (*KEYS, *IGNORED):
            allowed = ", ".join((*KEYS, *IGNORED))
            bad_config(f"{INFERENCE_FILE}: {key}", f"there is no such key; allowed: {allowed}")
    build = _builder(registry, content)
    if "inferer" not in content:
        bad_config(f"{INFERENCE_FILE}: inferer", "must be given")
    loader = content.get("model_loader", {"name": "TRTISModelLoader"})
    return Config(
        pre=build("pre_transforms", TRANSFORM),
        post=build("post_transforms", TRANSFORM),
        inferer=registry.build(INFERER, content["inferer"], f"{INFERENCE_FILE}: inferer"),
        loader=registry.build(LOADER, loader, f"{INFERENCE_FILE}: model_loader"),
        writers=build("writers", WRITER),
        spec=_model_spec(folder / MODEL_FILE),
    )


def _builder(
    registry: Registry, content: dict[str, Any]
) -> Callable[[str, str], tuple[tuple[str, Any], ...]]:
    def build(key: str, group: str) -> tuple[tuple[str, Any], ...]:
        entries = content.get(key, [])
        if not isinstance(entries, list):
            bad_config(f"{INFERENCE_FILE}: {key}", "must be a list")
        return tuple(
            registry.build(group, entry, f"{INFERENCE_FILE}: {key}[{index}]")
            for index, entry in enumerate(entries)
        )

    return build


def _model_spec(path: Path) -> ModelSpec:
    if not path.exists():
        return ModelSpec()
    return ModelSpec(**read_arguments(_read(path), MODEL_KEYS, f"{MODEL_FILE}: "))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_LIMIT:
            bad_config(path.name, f"is larger than {FILE_LIMIT >> 20} MiB")
        content = json.loads(path.read_bytes(), object_pairs_hook=_no_twins)
    except OSError as error:
        raise UsageError("NO_CONFIG", f"there is no readable {path.name}") from error
    except _TwinError as error:
        bad_config(f"{path.name}: {error}", "stands twice")
    except ValueError as error:
        bad_config(path.name, f"is no JSON: {error}")
    if not isinstance(content, dict):
        bad_config(path.name, "must hold an object")
    return content


class _TwinError(ValueError):
    """A key stands twice in one object: nobody knows which one counts."""


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwinError(key)
        found[key] = value
    return found
