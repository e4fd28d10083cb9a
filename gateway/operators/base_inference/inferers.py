"""Inferers: how a volume reaches the model and its answer becomes a volume.

An inferer is called with an `InferenceRun` and returns values `[channel, i, j, k]` on the image's
grid. `ModelSpec` is what `model_config.json` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.operators.base_inference.triton import (
    Address,
    Model,
    Patience,
    find_address,
    open_transport,
)
from gateway.operators.base_inference.volume import Array
from gateway.operators.base_inference.windows import Place, Scan, pad_to
from gateway.operators.sdk import Log, OperatorError, UsageError

CHANNELS_LAST: Final = "channels_last"
MOST_RESULT: Final = 1 << 30
"""Values of a result: 4 GiB of float32."""


@dataclass(frozen=True)
class ModelSpec:
    """What `model_config.json` says of the model; everything may be left out."""

    model_name: str = ""
    input_node_names: tuple[str, ...] = ()
    output_node_names: tuple[str, ...] = ()
    data_format: str = "channels_first"
    output_channel_dict: Mapping[str, int] = field(default_factory=dict)
    network_input_size: tuple[int, int, int] | None = None
    network_output_size: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class InferenceRun:
    """One run: the image `[channel, i, j, k]`, what is known of the model, and where it is."""

    image: Array
    spec: ModelSpec
    environ: Mapping[str, str]
    log: Log
    declared: Mapping[str, Any] | None = None
    """What the model loader's file says of the model (Triton's ModelConfig), if it has one."""


class SimpleInferer:
    """Send the whole volume at once."""

    def __init__(
        self,
        model_name: str | None = None,
        ip: str = "localhost",
        port: int = 8000,
        protocol: str = "HTTP",
        model_version: str | None = None,
        timeout: float = 300.0,
        ready_seconds: float = 60.0,
        retry_seconds: float = 120.0,
    ) -> None:
        self.model_name, self.model_version = model_name or "", model_version or ""
        self.address = Address(ip, port, protocol)
        self.timeout = timeout
        self.patience = Patience(ready=ready_seconds, back=retry_seconds)

    def __call__(self, run: InferenceRun) -> Array:
        """Return the model's answer; errors as `triton` and SHAPE_DIFFERS, NO_MODEL_NAME."""
        model = self.connect(run)
        try:
            if run.declared is not None:
                check_declared(model, run.declared)
            return self.infer(model, run)
        finally:
            model.close()

    def connect(self, run: InferenceRun) -> Model:
        """Return the model, ready."""
        name = self.model_name or run.spec.model_name
        if not name:
            raise UsageError(
                "NO_MODEL_NAME", "neither the inferer's args nor model_config.json name a model"
            )
        address = find_address(run.environ, self.address)
        run.log.info("triton.address", server=str(address), protocol=address.protocol)
        transport = open_transport(address, self.timeout)
        return Model.connect(
            transport, name, version=self.model_version, patience=self.patience, log=run.log
        )

    def infer(self, model: Model, run: InferenceRun) -> Array:
        """Return the answer for the whole image."""
        return Asked(model, run.spec).batch([run.image])[0]


class ScanWindowInferer(SimpleInferer):
    """Send overlapping windows and blend the answers; memory is the result's and one batch's."""

    def __init__(
        self,
        roi_size: Sequence[int] | None = None,
        batch_size: int = 1,
        overlap: float = 0.25,
        blend: str = "gaussian",
        pad_value: float = 0.0,
        is_channels_first: bool | None = None,
        **server: object,
    ) -> None:
        super().__init__(**server)  # type: ignore[arg-type]  # the registry checks them by kind
        self.roi_size, self.batch_size = roi_size, batch_size
        self.overlap, self.blend, self.pad_value = overlap, blend, pad_value
        self.is_channels_first = is_channels_first

    def infer(self, model: Model, run: InferenceRun) -> Array:
        """Return the blended answers for all windows, float32."""
        asked = Asked(model, run.spec, self.is_channels_first)
        size = self.roi_size or run.spec.network_input_size or asked.fixed_size()
        if size is None:
            raise UsageError(
                "NO_WINDOW_SIZE", "the model takes any size: say roi_size or network_input_size"
            )
        image, cut = pad_to(run.image, size, self.pad_value)
        scan = Scan.plan(image.shape[1:], size, self.overlap, self.blend)
        run.log.info("windows.planned", windows=scan.count, size=list(size))
        most = model.signature.max_batch or 1
        total: Array | None = None
        for places in _batches(scan.places(), min(self.batch_size, most)):
            windows = [image[(slice(None), *scan.cut(place))] for place in places]
            for place, answer in zip(places, asked.batch(windows), strict=True):
                if total is None:
                    total = _room(len(answer), image.shape[1:])
                scan.add(total, answer, place)
        if total is None:
            raise OperatorError("SHAPE_DIFFERS", "the volume is empty")
        scan.finish(total)
        return total[cut]


def _batches(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Group places, `size` at a time."""
    rest = iter(places)
    while group := list(itertools.islice(rest, size)):
        yield group


class Asked:
    """The one image input and the one output of a model that are used, in the model's layout."""

    def __init__(self, model: Model, spec: ModelSpec, channels_first: bool | None = None) -> None:
        self.model = model
        self.input = _only(spec.input_node_names, tuple(model.signature.inputs), "input")
        self.output = _only(spec.output_node_names, tuple(model.signature.outputs), "output")
        model.input(self.input)
        model.output(self.output)
        self.channels = spec.output_channel_dict.get(self.output)
        self.last = spec.data_format == CHANNELS_LAST
        if channels_first is not None:
            self.last = not channels_first

    def fixed_size(self) -> tuple[int, int, int] | None:
        """Return the window that the model itself prescribes, if it does."""
        shape = self.model.input(self.input).shape
        sizes = shape[:-1] if self.last else shape[1:]
        if len(sizes) != 3 or min(sizes) < 1:
            return None
        return sizes[0], sizes[1], sizes[2]

    def batch(self, images: Sequence[Array]) -> list[Array]:
        """Return the answers `[channel, i, j, k]` for images of one size."""
        stacked = np.stack([np.asarray(image, np.float32) for image in images])
        if self.last:
            stacked = np.moveaxis(stacked, 1, -1)
        if self.model.signature.max_batch:
            answers = self.model.infer({self.input: stacked}, [self.output])[self.output]
        else:
            each = [self.model.infer({self.input: one}, [self.output]) for one in stacked]
            answers = np.stack([answer[self.output] for answer in each])
        return [self._checked(answer, images[0].shape[1:]) for answer in answers]

    def _checked(self, answer: Array, size: Sequence[int]) -> Array:
        if answer.ndim == 3:
            answer = answer[..., None] if self.last else answer[None]
        if self.last:
            answer = np.moveaxis(answer, -1, 0)
        if answer.ndim != 4 or answer.shape[1:] != tuple(size):
            raise OperatorError(
                "SHAPE_DIFFERS", f"the model answered {list(answer.shape)} for {list(size)}"
            )
        if self.channels is not None and len(answer) != self.channels:
            raise OperatorError(
                "SHAPE_DIFFERS",
                f"the output {self.output!r} has {len(answer)} channels, "
                f"model_config.json says {self.channels}",
            )
        return answer


def check_declared(model: Model, declared: Mapping[str, Any]) -> None:
    """Refuse a model that is not as the file beside the configuration says.

    Raises:
        OperatorError: MODEL_SPEC_DIFFERS.
    """
    name = declared.get("name") or model.name
    if name != model.name:
        raise OperatorError("MODEL_SPEC_DIFFERS", f"the file is of {name!r}, not {model.name!r}")
    signature = model.signature
    for key, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        said = {
            str(one.get("name")): (
                str(one.get("data_type", "")).replace("TYPE_", "").replace("STRING", "BYTES"),
                tuple(int(size) for size in one.get("dims") or ()),
            )
            for one in declared.get(key) or []
        }
        served = {tensor.name: (tensor.datatype, tensor.shape) for tensor in tensors.values()}
        if said != served:
            raise OperatorError(
                "MODEL_SPEC_DIFFERS", f"{key}s: the file says {said}, the server {served}"
            )


def _only(wanted: Sequence[str], there: Sequence[str], kind: str) -> str:
    if wanted:
        return wanted[0]
    if len(there) != 1:
        raise UsageError(
            f"WHICH_{kind.upper()}",
            f"the model has {len(there)} {kind}s: name one in model_config.json "
            f"({kind}_node_names): {', '.join(sorted(there))}",
        )
    return there[0]


def _room(channels: int, shape: Sequence[int]) -> Array:
    if channels * int(np.prod(shape)) > MOST_RESULT:
        raise OperatorError("TOO_LARGE", f"a result of {channels} x {list(shape)} is too large")
    return np.zeros((channels, *shape), np.float32)
