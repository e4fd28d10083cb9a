"""Triton's own gRPC client behind our `Transport`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.operators.base_inference.triton.address import Address
from gateway.operators.base_inference.triton.transport import (
    Array,
    RefusedError,
    UnreachableError,
)
from gateway.operators.sdk import UsageError

LATER: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED")


class GrpcTransport:
    """One server over gRPC; see `Transport`."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Make a client; nothing is sent yet.

        Raises:
            UsageError: NO_GRPC_CLIENT, `tritonclient[grpc]` is not installed.
        """
        try:
            import tritonclient.grpc as client
        except ImportError as error:
            raise UsageError(
                "NO_GRPC_CLIENT", "install gateway[triton] (tritonclient[grpc]) or use HTTP"
            ) from error
        self._module: Any = client
        self._timeout = timeout
        self._url = str(address)
        self._client: Any = None

    def model_ready(self, name: str, version: str) -> bool:
        """Say whether a model takes requests."""
        return bool(self._ask("is_model_ready", name, version))

    def index(self) -> list[dict[str, Any]]:
        """Return the repository's models."""
        found: list[dict[str, Any]] = self._ask("get_model_repository_index", as_json=True).get(
            "models", []
        )
        return found

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """Return inputs and outputs of a model."""
        found: dict[str, Any] = self._ask("get_model_metadata", name, version, as_json=True)
        return found

    def config(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's configuration."""
        found: dict[str, Any] = self._ask("get_model_config", name, version, as_json=True)["config"]
        return found

    def infer(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, tuple[str, Array]],
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        """Return the outputs for inputs of (data type, values)."""
        given = []
        for tensor, (datatype, values) in inputs.items():
            one = self._module.InferInput(tensor, list(values.shape), datatype)
            one.set_data_from_numpy(np.ascontiguousarray(values))
            given.append(one)
        wanted = [self._module.InferRequestedOutput(output) for output in outputs]
        answer = self._ask("infer", name, given, model_version=version, outputs=wanted)
        found = {output: answer.as_numpy(output) for output in outputs}
        return {output: values for output, values in found.items() if values is not None}

    def close(self) -> None:
        """Close the channel."""
        if self._client is not None:
            # It may be half closed already; there is nothing to keep.
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.close()
            self._client = None

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        from tritonclient.utils import InferenceServerException

        if self._client is None:
            self._client = self._module.InferenceServerClient(self._url)
        call: Callable[..., Any] = getattr(self._client, method)
        try:
            return call(*arguments, client_timeout=self._timeout, **named)
        except InferenceServerException as error:
            status = str(error.status() or "")
            if any(word in status for word in LATER):
                # A channel whose server went away waits ever longer before it tries again.
                self.close()
                raise UnreachableError(status) from error
            raise RefusedError(str(error.message())) from error
