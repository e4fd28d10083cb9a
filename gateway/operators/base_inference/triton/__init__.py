"""Asks a Triton server, by HTTP or gRPC, and names what is wrong with server, model or data.

`Model.connect` waits until server and model are ready and reads what the model takes and gives;
`Model.infer` checks shapes and data types against that, and asks again after a transient failure
until the server is back or `Patience` ends.

Errors (`OperatorError.code`): TRITON_UNREACHABLE, MODEL_MISSING, MODEL_NOT_READY, INPUT_UNKNOWN,
OUTPUT_UNKNOWN, TYPE_DIFFERS, SHAPE_DIFFERS, BATCH_TOO_LARGE, INFERENCE_FAILED; `UsageError`:
NO_TRITON, BAD_TRITON_ADDRESS, NO_GRPC_CLIENT.
"""

from __future__ import annotations

from gateway.operators.base_inference.triton.address import Address, find_address
from gateway.operators.base_inference.triton.model import Model, Patience, Signature, Tensor
from gateway.operators.base_inference.triton.transport import Transport, open_transport

__all__ = [
    "Address",
    "Model",
    "Patience",
    "Signature",
    "Tensor",
    "Transport",
    "find_address",
    "open_transport",
]
