"""The Triton of the tests as a container's image, made of the files of its installation."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.operator_images import libraries
from tests.support.podman import Podman, python
from tests.support.programs import program
from tests.support.triton import installation

IMAGE, TAG = "nvcr.io/nvidia/tritonserver", "24.10-py3"
"""What definitions and settings call it, so that both stay as they ship."""
_ROOT = "/opt/triton"
_PACKAGES = (
    "pytriton/tritonserver", "nvidia_pytriton.libs",
    "onnxruntime", "numpy", "numpy.libs", "flatbuffers", "google", "packaging",
)  # fmt: skip
_LAUNCHER = f"""#!/bin/sh
exec {_ROOT}/packages/pytriton/tritonserver/bin/tritonserver \\
  --backend-directory={_ROOT}/backends "$@"
"""


def make_triton_image(podman: Podman) -> None:
    """Make the image :data:`IMAGE` with a program ``tritonserver``, and ONNX for Python models."""
    found = installation()
    site = Path(found.environ["PYTHONPATH"])
    _, *beside = found.environ["LD_LIBRARY_PATH"].split(":")
    files = python() | {"/usr/local/bin/python3": "->python"}
    for name in _PACKAGES:
        files[f"{_ROOT}/packages/{name}"] = site / name
    backend = [path.resolve() for path in (found.backends / "python").iterdir() if path.is_file()]
    for path in backend:
        files[f"{_ROOT}/backends/python/{path.name}"] = path
    # Triton's Python backend starts its stubs by this shell.
    shell = Path(program("bash")).resolve()
    files["/bin/bash"] = shell
    linked = [found.server, shell, *backend, *site.rglob("*.so*")]
    files |= {path: Path(path).resolve() for path in libraries(linked, besides=site)}
    files[f"{_ROOT}/bin/tritonserver"] = _LAUNCHER
    # A stub takes no heed of PYTHONPATH.
    own = f"/usr/local/lib/python3.{sys.version_info.minor}/site-packages/triton.pth"
    files[own] = f"{_ROOT}/packages\n"
    made = podman.image(
        "triton:1",
        files,
        f"ENV PATH={_ROOT}/bin:/usr/local/bin:/bin",
        f"ENV LD_LIBRARY_PATH={':'.join((f'{_ROOT}/packages/nvidia_pytriton.libs', *beside))}",
    )
    podman.api.tag(made, IMAGE, TAG)
