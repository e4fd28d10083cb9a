"""What is asked of a server, whichever protocol carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gateway.operators.base_inference.triton.address import GRPC, Address

Array = npt.NDArray[Any]
NUMPY = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""Triton's data types and NumPy's."""


class UnreachableError(Exception):
    """No answer, or one that says try later: worth another try."""


class RefusedError(Exception):
    """The server answered and refuses; the message is its own."""


class Transport(Protocol):
    """One server. Calls block up to their time limit; not for several threads.

    Every call may raise `UnreachableError` or `RefusedError`.
    """

    def model_ready(self, name: str, version: str) -> bool:
        """Say whether a model takes requests; an empty version is the server's choice."""
        ...

    def index(self) -> list[dict[str, Any]]:
        """Return name, version, state and reason of the repository's models."""
        ...

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """Return inputs and outputs of a model, with the batch axis (KServe v2)."""
        ...

    def config(self, name: str, version: str) -> dict[str, Any]:
        """Return the model's configuration; `max_batch_size` is in it."""
        ...

    def infer(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, tuple[str, Array]],
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        """Return the outputs for inputs of (data type, values)."""
        ...

    def close(self) -> None:
        """Give up the connection; further calls open another."""
        ...


def open_transport(address: Address, timeout: float) -> Transport:
    """Return a transport for a server; `timeout` in seconds bounds each call.

    Raises:
        UsageError: NO_GRPC_CLIENT.
    """
    if address.protocol == GRPC:
        from gateway.operators.base_inference.triton.grpc import GrpcTransport

        return GrpcTransport(address, timeout)
    from gateway.operators.base_inference.triton.http import HttpTransport

    return HttpTransport(address, timeout)
