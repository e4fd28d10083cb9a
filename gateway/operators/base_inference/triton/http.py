"""The KServe v2 protocol over HTTP with Triton's binary tensors, by the standard library.

Triton's own HTTP client needs gevent, which replaces the sockets of the whole process.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.operators.base_inference.triton.address import Address
from gateway.operators.base_inference.triton.transport import (
    NUMPY,
    Array,
    RefusedError,
    UnreachableError,
)

LENGTH: Final = "Inference-Header-Content-Length"
MOST_BYTES: Final = 4 << 30
"""Of an answer."""
LATER: Final = (429, 502, 503, 504)


class HttpTransport:
    """One server over HTTP; see `Transport`."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def model_ready(self, name: str, version: str) -> bool:
        """Say whether a model takes requests."""
        return self._ready(f"{_path(name, version)}/ready")

    def index(self) -> list[dict[str, Any]]:
        """Return the repository's models."""
        found: list[dict[str, Any]] = self._json("POST", "/v2/repository/index")
        return found

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """Return inputs and outputs of a model."""
        found: dict[str, Any] = self._json("GET", _path(name, version))
        return found

    def config(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's configuration."""
        found: dict[str, Any] = self._json("GET", f"{_path(name, version)}/config")
        return found

    def infer(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, tuple[str, Array]],
        outputs: Sequence[str],
    ) -> dict[str, Array]:
        """Return the outputs for inputs of (data type, values)."""
        described, blobs = [], []
        for tensor, (datatype, values) in inputs.items():
            blob = np.ascontiguousarray(values).tobytes()
            blobs.append(blob)
            described.append(
                {
                    "name": tensor,
                    "datatype": datatype,
                    "shape": list(values.shape),
                    "parameters": {"binary_data_size": len(blob)},
                }
            )
        wanted = [{"name": output, "parameters": {"binary_data": True}} for output in outputs]
        head = json.dumps({"inputs": described, "outputs": wanted}).encode()
        headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        body = b"".join([head, *blobs])
        answer, length = self._ask("POST", f"{_path(name, version)}/infer", body, headers)
        return _unpack(answer, length)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ready(self, path: str) -> bool:
        try:
            self._ask("GET", path)
        except RefusedError:
            return False
        return True

    def _json(self, method: str, path: str) -> Any:
        answer, _ = self._ask(method, path)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise RefusedError("the server's answer is no JSON: is it a Triton server?") from error

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, int]:
        """Return the body of an answer, and how long its JSON is before binary data begin."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    self._address.host, self._address.port, timeout=self._timeout
                )
            self._connection.request(method, path, body, dict(headers or {}))
            answer = self._connection.getresponse()
            content = answer.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnreachableError(type(error).__name__) from error
        if answer.status in LATER:
            raise UnreachableError(f"HTTP {answer.status}")
        if answer.status != 200:
            raise RefusedError(_reason(content, answer.status))
        if len(content) > MOST_BYTES:
            self.close()
            raise RefusedError("the answer is larger than 4 GiB")
        return content, int(answer.headers.get(LENGTH) or len(content))


def _path(name: str, version: str) -> str:
    return f"/v2/models/{name}/versions/{version}" if version else f"/v2/models/{name}"


def _reason(content: bytes, status: int) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}"


def _unpack(answer: bytes, length: int) -> dict[str, Array]:
    """Take the tensors out of an answer: JSON, then their bytes in the order of the outputs."""
    found: dict[str, Array] = {}
    try:
        offset = length
        for output in json.loads(answer[:length])["outputs"]:
            size = int(output["parameters"]["binary_data_size"])
            values = np.frombuffer(answer[offset : offset + size], NUMPY[output["datatype"]])
            found[str(output["name"])] = values.reshape(output["shape"])
            offset += size
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError("the answer's tensors cannot be read") from error
    return found
