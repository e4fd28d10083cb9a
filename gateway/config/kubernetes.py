"""Settings of the executors that run jobs on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config.model import Settings

_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
# Names of objects of the cluster: DNS subdomains.


class Toleration(Settings):
    """A taint of nodes that operators bear."""

    key: str | None = None
    """Of the taint; null = every key, with the operator ``Exists``."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """``Equal`` compares the value too."""
    value: str | None = None
    """Of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Null = every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=30)] | None = None
    """Of ``NoExecute``: how long a Pod stays."""


class PriorityClasses(Settings):
    """Priority classes of the cluster by a job's priority; null = the cluster's default."""

    lower: str | None = Field(default=None, pattern=_NAME)
    """Of LOWER."""
    normal: str | None = Field(default=None, pattern=_NAME)
    """Of NORMAL."""
    higher: str | None = Field(default=None, pattern=_NAME)
    """Of HIGHER."""
    immediate: str | None = Field(default=None, pattern=_NAME)
    """Of IMMEDIATE."""


class ArgoSettings(Settings):
    """What Argo Workflows is told besides."""

    service_account: str = Field(default="gateway-argo", pattern=_NAME)
    """Service account of the containers that Argo adds to a Pod; operators get no token."""
    instance_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    )
    """``instanceID`` of the controller that is to run the Workflows; null = it has none."""


class KubernetesSettings(Settings):
    """The Kubernetes and Argo executors."""

    kubeconfig: Path | None = None
    """Client configuration; null = the service account of the pod."""
    namespace: str = "gateway"
    """Namespace of the Pods and Workflows."""
    claim: str | None = Field(default=None, pattern=_NAME)
    """Persistent volume claim that holds ``data-dir``."""
    host_path: str | None = Field(default=None, pattern=r"^/")
    """Path on every node that holds ``data-dir``."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When a node pulls an image: when it is missing, before every operator, or not at all."""
    image_seconds: Annotated[float, Field(gt=0, le=3600)] = 120
    """How long a node may fail to get an image before the image counts as missing."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that run operators."""
    tolerations: list[Toleration] = Field(default_factory=list)
    """Taints of nodes that operators bear."""
    node_lost_seconds: Annotated[int, Field(ge=0, le=30)] = 30
    """How long a Pod stays bound to a node that is not ready or not reachable."""
    priority_classes: PriorityClasses = PriorityClasses()
    """Priority classes of the cluster by a job's priority."""
    queue: str | None = Field(default=None, pattern=_NAME)
    """Local queue of Kueue that jobs wait in; null = none."""
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    """What the cluster calls a GPU."""
    runtime_class: str | None = Field(default=None, pattern=_NAME)
    """Runtime class of Pods with GPUs; null = the cluster's default."""
    waiter: Path | None = None
    """The static program that starts operators in their order; null = ``gateway-waiter`` beside
    the gateway's interpreter or on ``PATH``."""
    argo: ArgoSettings = ArgoSettings()
    """What Argo Workflows is told besides."""
