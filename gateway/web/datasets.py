"""``/api/v1/datasets…``: volumes with their overlays for the viewer, and key images."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gateway.events.times import rfc3339
from gateway.render import pictures
from gateway.render.cache import Cache
from gateway.render.datasets import Dataset, Datasets
from gateway.render.errors import NoDataset
from gateway.render.making.grid import Segment
from gateway.render.pictures import Layer
from gateway.render.sources import Source
from gateway.web import ranges
from gateway.web.services import Given, Services

WAIT_SECONDS = 20.0
"""Longest that a request waits for a volume that is being made."""
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"description": "the picture", "content": {"image/png": {"schema": {"type": "string"}}}}
}
_LEVEL: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a NIfTI file",
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    },
    206: {
        "description": "the range asked for",
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    },
}

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])


class Registered(BaseModel):
    """A data set that was registered for the render server."""

    id: str
    job_id: str
    state: str
    created_at: str


class RegisteredList(BaseModel):
    """The newest of them."""

    items: list[Registered]
    next: str | None = None


class VolumeEntry(BaseModel):
    """One volume of a data set, before anything of it is read."""

    id: str
    role: Literal["image", "label"]
    name: str
    modality: str
    over: list[str]
    """Of a label map: the images that it lies over."""


class DatasetView(BaseModel):
    """Volumes that are looked at together."""

    id: str
    job_id: str
    name: str
    volumes: list[VolumeEntry]


@router.get("")
def datasets(services: Given, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> RegisteredList:
    """List the newest data sets that were registered for the agent `renderserver`."""
    rows = _found(services).listed(limit)
    items = [
        Registered.model_validate(row | {"created_at": rfc3339(row["created_at"])}) for row in rows
    ]
    return RegisteredList(items=items)


@router.get("/{dataset_id}")
def dataset(services: Given, dataset_id: str) -> DatasetView:
    """Give the volumes of `r<result id>` or, of a job that ended, of `j<job id>`."""
    found = _found(services).get(dataset_id)
    volumes = [
        VolumeEntry(
            id=one.id,
            role=one.role,
            name=one.name,
            modality=one.modality,
            over=[other.id for other in found.volumes if found.overlays(one, other)],
        )
        for one in found.volumes
    ]
    return DatasetView(id=found.id, job_id=found.job_id, name=found.name, volumes=volumes)


@router.get("/{dataset_id}/volumes/{volume_id}")
def volume(services: Given, dataset_id: str, volume_id: str) -> dict[str, Any]:
    """Give shape, window, segments and levels of a volume; 503 while it is being made."""
    found = _found(services).get(dataset_id)
    one = found.volume(volume_id)
    return {"id": one.id, **_cache(services).manifest(found, one, WAIT_SECONDS)}


@router.get("/{dataset_id}/volumes/{volume_id}/levels/{name}", responses=_LEVEL)
def level(
    request: Request, services: Given, dataset_id: str, volume_id: str, name: str
) -> Response:
    """Send one resolution of a volume, whole or in ranges; 503 while it is being made."""
    found = _found(services).get(dataset_id)
    one = found.volume(volume_id)
    cache = _cache(services)
    known = cache.manifest(found, one, WAIT_SECONDS)["levels"]
    if name not in {each["file"] for each in known}:
        raise NoDataset("There is no such level of this volume.")
    path = cache.level(found, one, name, WAIT_SECONDS)
    return ranges.answer(request, path.open("rb"), name)


@router.get("/{dataset_id}/volumes/{volume_id}/picture", responses=_PNG)
def picture(
    request: Request,
    services: Given,
    dataset_id: str,
    volume_id: str,
    plane: Literal["axial", "coronal", "sagittal"] = "axial",
    window: Literal["lung", "soft", "bone", "brain", "full"] | None = None,
    position: Annotated[float, Query(ge=0, le=1, description="0 = first plane, 1 = last")] = 0.5,
    size: Annotated[int, Query(ge=32, le=pictures.MOST_PIXELS)] = 512,
    overlay: bool = True,
) -> Response:
    """Draw one plane of an image with its label maps as PNG, with orientation letters."""
    found = _found(services).get(dataset_id)
    one = found.volume(volume_id)
    cache = _cache(services)
    manifest = cache.whole(found, one, WAIT_SECONDS)
    layers = [
        _layer(cache, found, other)
        for other in found.volumes
        if overlay and found.overlays(other, one)
    ]
    drawn = pictures.draw(
        _layer(cache, found, one),
        layers,
        plane=plane,
        window=_window(manifest, window),
        position=position,
        size=size,
    )
    tag = f'"{hashlib.sha256(drawn).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(drawn, media_type="image/png", headers=headers)


def _layer(cache: Cache, found: Dataset, one: Source) -> Layer:
    manifest = cache.manifest(found, one, WAIT_SECONDS)
    path = cache.level(found, one, manifest["levels"][-1]["file"], WAIT_SECONDS)
    return Layer(path, tuple(Segment(**each) for each in manifest["segments"]))


def _window(manifest: dict[str, Any], wanted: str | None) -> tuple[float, float]:
    if wanted in pictures.WINDOWS:
        return pictures.WINDOWS[wanted]
    low, high = manifest["range"] if wanted == "full" else manifest["window"]
    return float(low), float(high)


def _found(services: Services) -> Datasets:
    return Datasets(services.database, services.data_dir)


def _cache(services: Services) -> Cache:
    return services.volumes
