"""One model of a server: waited for, checked, asked, asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from gateway.operators.base_inference.triton.transport import (
    NUMPY,
    Array,
    RefusedError,
    Transport,
    UnreachableError,
)
from gateway.operators.sdk import Log, OperatorError

ANY = -1
"""A dimension of any size."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a server to be ready or back, and between tries."""

    ready: float = 60.0
    back: float = 120.0
    pause: float = 0.5


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a model takes or gives: Triton's data type; the shape without the batch axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs by name; `max_batch` 0 means that the model has no batch axis."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    max_batch: int


class Model:
    """A model that is ready; `connect` makes it. Not for several threads."""

    def __init__(
        self, transport: Transport, name: str, version: str, patience: Patience, log: Log
    ) -> None:
        self._transport = transport
        self._patience = patience
        self._log = log
        self.name = name
        self.version = version
        self.signature = Signature({}, {}, 0)

    @classmethod
    def connect(
        cls,
        transport: Transport,
        name: str,
        *,
        log: Log,
        version: str = "",
        patience: Patience | None = None,
    ) -> Model:
        """Wait for server and model, read what the model takes and gives, and return it.

        Raises:
            OperatorError: TRITON_UNREACHABLE, MODEL_MISSING, MODEL_NOT_READY.
        """
        model = cls(transport, name, version, patience or Patience(), log)
        try:
            model._wait(model._patience.ready)
            model.signature = model._read_signature()
        except OperatorError:
            model.close()
            raise
        log.info("model.ready", model=name, version=version or "latest")
        return model

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """Return the named outputs (all without names) for inputs with their batch axis.

        Floating-point inputs are converted to the model's floating-point type; nothing else is.
        A transient failure is tried again until `Patience.back` is over.

        Raises:
            OperatorError: by the names of the package.
        """
        wanted = tuple(outputs) or tuple(self.signature.outputs)
        for output in wanted:
            self.output(output)
        given = {name: self._checked(name, values) for name, values in inputs.items()}
        for missing in set(self.signature.inputs) - set(given):
            raise OperatorError("INPUT_UNKNOWN", f"the model also needs the input {missing!r}")

        def ask() -> dict[str, Array]:
            return self._transport.infer(self.name, self.version, given, wanted)

        found = self._patiently(ask)
        for output in wanted:
            if output not in found:
                raise OperatorError("OUTPUT_UNKNOWN", f"the answer lacks the output {output!r}")
        return found

    def input(self, name: str) -> Tensor:
        """Return an input of the model; INPUT_UNKNOWN if there is none of that name."""
        return _named(self.signature.inputs, name, "input")

    def output(self, name: str) -> Tensor:
        """Return an output of the model; OUTPUT_UNKNOWN if there is none of that name."""
        return _named(self.signature.outputs, name, "output")

    def close(self) -> None:
        """Give up the connection."""
        self._transport.close()

    def _checked(self, name: str, values: Array) -> tuple[str, Array]:
        """Return data type and values of an input as the model wants them."""
        tensor = self.input(name)
        shape = values.shape
        if self.signature.max_batch:
            if not 0 < len(values) <= self.signature.max_batch:
                raise OperatorError(
                    "BATCH_TOO_LARGE",
                    f"{len(values)} at once, the model takes 1 to {self.signature.max_batch}",
                )
            shape = values.shape[1:]
        if len(shape) != len(tensor.shape) or any(
            want not in (ANY, have) for want, have in zip(tensor.shape, shape, strict=True)
        ):
            raise OperatorError(
                "SHAPE_DIFFERS",
                f"the input {name!r} takes {list(tensor.shape)}, given {list(shape)}",
            )
        wanted = NUMPY.get(tensor.datatype)
        if wanted is not None and wanted.kind == values.dtype.kind == "f":
            values = values.astype(wanted, copy=False)
        if wanted != values.dtype:
            raise OperatorError(
                "TYPE_DIFFERS",
                f"the input {name!r} takes {tensor.datatype}, given {values.dtype.name}",
            )
        return tensor.datatype, values

    def _read_signature(self) -> Signature:
        def ask() -> Signature:
            metadata = self._transport.metadata(self.name, self.version)
            config = self._transport.config(self.name, self.version)
            most = int(config.get("max_batch_size") or 0)
            return Signature(
                _tensors(metadata.get("inputs"), batched=most > 0),
                _tensors(metadata.get("outputs"), batched=most > 0),
                most,
            )

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer; wait for the server to come back in between."""
        end = time.monotonic() + self._patience.back
        while True:
            try:
                return ask()
            except UnreachableError as error:
                self._log.warning("triton.gone", model=self.name, reason=str(error))
            except RefusedError as error:
                # A server that came back may not have loaded its models yet.
                if self._is_ready():
                    raise OperatorError(
                        "INFERENCE_FAILED", f"the model {self.name!r} failed: {_short(error)}"
                    ) from error
            left = end - time.monotonic()
            if left <= 0:
                raise OperatorError(
                    "TRITON_UNREACHABLE",
                    f"no answer of the model {self.name!r} for {self._patience.back:g} seconds",
                )
            time.sleep(min(self._patience.pause, left))
            self._wait(left, was_there=True)

    def _is_ready(self) -> bool:
        try:
            return self._transport.model_ready(self.name, self.version)
        except (UnreachableError, RefusedError):
            return False

    def _wait(self, seconds: float, *, was_there: bool = False) -> None:
        """Wait until the model is ready; give up early when it can never be."""
        reason = "TRITON_UNREACHABLE"
        for reason in self._states(seconds):
            if reason == "":
                return
            if reason.startswith("MODEL") and not was_there:
                self._give_up(reason)
        self._give_up(reason)

    def _states(self, seconds: float) -> Iterator[str]:
        """Say again and again why the model is not ready; empty when it is."""
        end = time.monotonic() + seconds
        while True:
            yield self._state()
            if time.monotonic() > end:
                return
            time.sleep(self._patience.pause)

    def _state(self) -> str:
        try:
            # Whether the server is ready is not asked: one broken model of many denies it.
            if self._transport.model_ready(self.name, self.version):
                return ""
            entries = [e for e in self._transport.index() if e.get("name") == self.name]
        except UnreachableError:
            return "TRITON_UNREACHABLE"
        except RefusedError:
            # The gateway's own Triton lets nobody else see its repository.
            return "LOADING"
        states = {str(entry.get("state") or "") for entry in entries}
        if not entries:
            return "MODEL_MISSING"
        return "MODEL_NOT_READY" if states == {"UNAVAILABLE"} else "LOADING"

    def _give_up(self, reason: str) -> None:
        """Raise what keeps the model from being ready."""
        name = self.name if not self.version else f"{self.name} (version {self.version})"
        if reason == "MODEL_MISSING":
            names = sorted({str(entry.get("name")) for entry in self._index()})
            listed = ", ".join(names[:20]) or "none"
            raise OperatorError(
                reason, f"the Triton server has no model {name!r}; its models: {listed}"
            )
        if reason in ("MODEL_NOT_READY", "LOADING"):
            reasons = {str(e.get("reason")) for e in self._index() if e.get("name") == self.name}
            why = "; ".join(sorted(filter(None, reasons - {"None"}))) or "it is not loaded"
            raise OperatorError(
                "MODEL_NOT_READY", f"the model {name!r} is not ready: {_short(why)}"
            )
        raise OperatorError("TRITON_UNREACHABLE", "the Triton server did not become ready in time")

    def _index(self) -> list[dict[str, Any]]:
        try:
            return self._transport.index()
        except (UnreachableError, RefusedError):
            return []


def _tensors(described: Any, *, batched: bool) -> dict[str, Tensor]:
    found = {}
    for one in described or []:
        shape = tuple(int(size) for size in one.get("shape") or ())
        name = str(one["name"])
        found[name] = Tensor(name, str(one["datatype"]), shape[1:] if batched else shape)
    return found


def _named(tensors: Mapping[str, Tensor], name: str, kind: str) -> Tensor:
    if name not in tensors:
        known = ", ".join(sorted(tensors)) or "none"
        raise OperatorError(
            f"{kind.upper()}_UNKNOWN", f"the model has no {kind} {name!r}; it has: {known}"
        )
    return tensors[name]


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:500]


def floats(values: Array) -> Array:
    """Return values as float32, what models take unless they say otherwise."""
    return np.asarray(values, dtype=np.float32)
