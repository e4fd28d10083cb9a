"""Settings of the container executor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.config.model import Settings


class ContainerImage(Settings):
    """What the container executor must be told of one image."""

    layout: Literal["clara", "map", "mercure"] | None = None
    """How it expects its folders; null = as the image shows: a MONAI application package (``map``)
    by its manifests, else as Clara's operators do."""
    writable_root: bool = False
    """Let it write to its own root, for images that cannot do without; the changes are lost."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Layout ``mercure``: settings of the module, for its ``task.json``."""


class ContainerSettings(Settings):
    """The container executor."""

    socket: Path | None = None
    """Socket of Docker's API; null = the first there is of: that of ``DOCKER_HOST``,
    ``/run/docker.sock``, ``/var/run/docker.sock``, ``/run/podman/podman.sock``, and Podman's and
    Docker's of this user in ``XDG_RUNTIME_DIR``."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When an image is pulled: when it is missing, before every operator, or not at all.  An image
    that is pinned by its digest and there is never pulled again."""
    pull_secrets: Path | None = None
    """Folder of pull secrets: ``<name>.json``, in the form of Docker's ``config.json``, for each
    name in a definition's ``pull-secrets``."""
    network: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "bridge"
    """Network of operators whose definition asks for one; the others have none."""
    images: dict[str, ContainerImage] = Field(default_factory=dict)
    """``image:tag`` or ``image`` → what the gateway cannot see in the image itself."""
