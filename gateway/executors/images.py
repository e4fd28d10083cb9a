"""What the process executor runs for an image name.

There are no images here: a name stands for a command on this machine.  The operators that ship are
preset; ``images`` of the settings adds to them and wins over them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.config.settings import ImageSettings
from gateway.executors import interpreter
from gateway.pipelines.model import Operator

_CLARA = ("nvidia/clara/", "clara/")
_REGISTER = "register-results"
_SHIPPED = (
    "dicom-reader", "lung-density", "dicom-writer", "roi-generator", "organ-segmentation",
    "denovo-assembly", "chest-xray", "base-inference",
)  # fmt: skip
_TRITON = ("tritonserver", "tensorrtserver")
"""Images of NVIDIA's inference server, by their newer and their older name."""
_TRITON_PLACES = ":/opt/tritonserver/bin"
"""Where its program may be, besides ``PATH``."""


@dataclass(frozen=True)
class Program:
    """A command with the variables and working folder of its image."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/tmp"  # noqa: S108 - inside the sandbox it is the operator's own
    visible: tuple[Path, ...] = ()
    """Files and folders outside the usual ones that must be shown, read-only, at their own path."""
    warm: bool = False
    """It may start from a parent that has imported it (:mod:`gateway.executors.warm`)."""


class Images:
    """Commands by image name; immutable."""

    def __init__(
        self,
        settings: Mapping[str, ImageSettings] | None = None,
        interpreter: str = sys.executable,
    ) -> None:
        """``interpreter`` runs the operators that ship."""
        self._settings = dict(settings or {})
        self._presets = _presets(interpreter)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that is configured or preset."""
        return tuple(sorted({*self._settings, *self._presets}))

    def find(self, operator: Operator) -> Program | None:
        """The program of an operator, its own command put in; None if its image is unknown.

        Tried in turn: ``image:tag``, ``image``, and both without the registry's host and without
        Clara's folder in it.
        """
        program = self._image(operator.image, operator.tag)
        if program is None or not operator.command:
            return program
        return replace(program, command=operator.command)

    def _image(self, image: str, tag: str) -> Program | None:
        presets = self._presets
        for name in _spellings(image):
            for key in (f"{name}:{tag}", name):
                if key in self._settings:
                    return _configured(self._settings[key])
            if name in presets:
                return presets[name]
        # Clara's own image, and NVIDIA's, wherever a site mirrors them.
        last = image.rsplit("/", 1)[-1]
        if last == _REGISTER:
            return presets[f"gateway/{_REGISTER}"]
        if last in _TRITON:
            # Whatever it is called there, here it is one program.
            own = next((self._settings[n] for n in _TRITON if n in self._settings), None)
            return presets.get(_TRITON[0]) if own is None else _configured(own)
        return None


def _spellings(image: str) -> list[str]:
    """The name as written, without its registry's host, without Clara's folder."""
    host, slash, rest = image.partition("/")
    bare = rest if slash and ("." in host or ":" in host or host == "localhost") else image
    names = [image, bare]
    names += [bare.removeprefix(prefix) for prefix in _CLARA if bare.startswith(prefix)]
    return list(dict.fromkeys(names))


def _configured(settings: ImageSettings) -> Program:
    """A command of the settings; what it names by absolute path is shown to the operator."""
    found: list[Path] = []
    folders = (settings.env.get(name, "") for name in ("PYTHONPATH", "LD_LIBRARY_PATH"))
    values = (part.rpartition("=")[2] for part in settings.command)
    for text in (*values, *":".join(folders).split(":")):
        path = Path(text)
        if path.is_absolute() and path.exists():
            found += interpreter.installation(path)
    return Program(
        tuple(settings.command), dict(settings.env), visible=tuple(found), warm=settings.warm
    )


def _presets(python: str) -> dict[str, Program]:
    """The operators that ship."""
    shipped = {
        f"gateway/{name}": Program(
            (python, "-m", f"gateway.operators.{name.replace('-', '_')}"), warm=True
        )
        for name in _SHIPPED
    }
    # Clara's names for the same.
    shipped["ai-chestxray"] = shipped["gateway/chest-xray"]
    shipped["app_base_inference"] = shipped["gateway/base-inference"]
    # Clara's definitions say `python register.py …`, relative to the image's working folder.
    folder = interpreter.package_folder() / "operators" / "register_results"
    module = (python, "-m", "gateway.operators.register_results")
    shipped[f"gateway/{_REGISTER}"] = Program(module, folder=str(folder), warm=True)
    server = shutil.which(_TRITON[0], path=os.environ.get("PATH", "") + _TRITON_PLACES)
    if server is not None:
        shipped[_TRITON[0]] = _configured(ImageSettings(command=[server]))
    return shipped
