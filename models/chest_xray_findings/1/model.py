"""Serves the ONNX network beside this file through Triton's Python backend, by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as triton

OUTPUTS = ("score", "diameter")


class TritonPythonModel:
    """One instance of the model; Triton calls its methods by these names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network of this version."""
        network = Path(args["model_repository"], args["model_version"], "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = onnxruntime.InferenceSession(
            network, options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request; a failure becomes that request's error and no other's."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        image = triton.get_input_tensor_by_name(request, "image").as_numpy()
        try:
            found = self.session.run(OUTPUTS, {"image": image})
        except (RuntimeError, ValueError) as error:
            return triton.InferenceResponse(error=triton.TritonError(str(error)))
        tensors = [triton.Tensor(name, values) for name, values in zip(OUTPUTS, found, strict=True)]
        return triton.InferenceResponse(output_tensors=tensors)
