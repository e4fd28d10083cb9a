"""Images of the operators that ship, made of the files of this machine: no registry, no index."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.podman import Podman, archive, python, python_changes
from tests.support.programs import program
from tests.support.reference import ROOT

OPERATORS = (
    "dicom-reader", "roi-generator", "organ-segmentation", "dicom-writer", "register-results",
    "denovo-assembly", "chest-xray", "base-inference", "lung-density",
)  # fmt: skip
TOOLS = ("minimap2", "miniasm", "racon")
PACKAGES = (
    "numpy", "numpy.libs", "scipy", "scipy.libs", "nibabel", "highdicom", "PIL", "pillow.libs",
    "packaging", "importlib_resources", "tritonclient", "grpc", "google", "ml_dtypes",
    "rapidjson*.so",
)  # fmt: skip
BASE = "operators:1"
BASE_FILE = "deploy/operators/assembly-base.Containerfile"


def make_operator_images(podman: Podman) -> None:
    """Make `localhost/gateway/<operator>:latest` for every operator of the reference pipelines.

    All stand on one image with Python, the packages and the tools; the Containerfile of the
    repository that adds the tools is built on it, too.
    """
    changes = python_changes()
    packages = changes[0].partition("=")[2]
    base = podman.image(
        BASE, dict(operator_files(packages, "SimpleITK")), *changes, "ENV HOME=/tmp"
    )
    build(podman, (ROOT / BASE_FILE).read_text(), "localhost/gateway/assembly-base", BASE=base)
    for name in OPERATORS:
        module = f"gateway.operators.{name.replace('-', '_')}"
        under = "localhost/gateway/assembly-base" if name == "denovo-assembly" else base
        entry = json.dumps(["python", "-m", module])
        build(
            podman, f"FROM {under}\nWORKDIR /app\nENTRYPOINT {entry}\n", f"localhost/gateway/{name}"
        )


def operator_files(packages: str, *more: str) -> Iterator[tuple[str, Any]]:
    """Path in an image and contents: Python, its packages and ``more``, and the tools.

    ``packages`` is their folder in the image.
    """
    yield from python().items()
    site = Path(np.__file__).parents[1]
    wanted = [path for name in (*PACKAGES, *more) for path in site.glob(name)]
    for path in wanted:
        yield f"{packages}/{path.name}", path
    for told in site.glob("*.dist-info"):
        if told.name.split("-")[0].lower() in {"highdicom", "nibabel", "numpy"}:
            yield f"{packages}/{told.name}", told
    yield f"{packages}/gateway/__init__.py", ROOT / "gateway" / "__init__.py"
    yield f"{packages}/gateway/operators", ROOT / "gateway" / "operators"
    tools = {f"/bin/{tool}": Path(program(tool)).resolve() for tool in TOOLS}
    yield from tools.items()
    modules = [path for each in wanted for path in each.rglob("*.so*")]
    alone = [path for path in wanted if path.is_file()]
    for library in libraries([*tools.values(), *modules, *alone], besides=site):
        yield library, Path(library).resolve()


def libraries(paths: Sequence[Path], besides: Path) -> list[str]:
    """What programs and modules are linked with, outside the packages themselves."""
    command = ["ldd", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {w for w in done.stdout.split() if w.startswith("/") and not w.endswith(":")}
    return sorted(w for w in found if not Path(w).resolve().is_relative_to(besides.resolve()))


def build(
    podman: Podman,
    containerfile: str,
    tag: str,
    files: Mapping[str, str] | None = None,
    **arguments: str,
) -> None:
    """Build ``<tag>:latest``; ``files`` are the context, path to text."""
    context = archive({"Containerfile": containerfile, **(files or {})})
    lines = podman.api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        dockerfile="Containerfile",
        tag=f"{tag}:latest",
        buildargs=arguments,
        pull=False,
        decode=True,
    )
    said = [line for line in lines if "error" in line]
    assert not said, said
