"""The Triton that tests use is the real one: it loads a model and computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as client

from tests.support import triton


@pytest.mark.peers
def test_a_python_model_answers(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    triton.adding_model(repository, "adding", 2.5)
    with triton.serving(repository, tmp_path) as server:
        asked = client.InferInput("INPUT", [3], "FP32")
        asked.set_data_from_numpy(np.array([1, 2, 3], np.float32))
        with client.InferenceServerClient(server.grpc) as connection:
            answer = connection.infer("adding", [asked]).as_numpy("OUTPUT")
    assert answer is not None
    assert answer.tolist() == [3.5, 4.5, 5.5]
