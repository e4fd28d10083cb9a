"""Data sets: what a job made and what it was made from, to be looked at.

A data set is no record of its own.  ``r<id>`` are the volumes of a result that was registered for
the agent ``renderserver``, ``j<id>`` those of a job that ended: both follow from the records and
the files of the job's payload, and are gone when these are deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from gateway.database.engine import Database
from gateway.database.schema import jobs, pipelines, result_files, results
from gateway.render import sources
from gateway.render.errors import NoDataset
from gateway.render.sources import Source
from gateway.results.agents import RENDER_SERVER

_ID = re.compile(r"([jr])([0-9a-f]{32})", re.ASCII)
_SERIES = "input/dcm"


@dataclass(frozen=True)
class Dataset:
    """Volumes that are looked at together."""

    id: str
    job_id: str
    name: str
    """The pipeline's."""
    payload_id: str
    payload: Path
    volumes: tuple[Source, ...]

    def volume(self, volume_id: str) -> Source:
        """One of its volumes; raises NoDataset."""
        for one in self.volumes:
            if one.id == volume_id:
                return one
        raise NoDataset("There is no such volume in this data set.")

    def overlays(self, label: Source, image: Source) -> bool:
        """Whether a label map is shown over an image: of its own frame of reference, never another.

        One that names neither frame nor series, such as NIfTI, is shown only where there is no
        choice.
        """
        if label.role != "label" or image.role != "image":
            return False
        if label.frame and image.frame:
            return label.frame == image.frame
        if label.series and image.series:
            return label.series == image.series
        return sum(each.role == "image" for each in self.volumes) == 1


class Datasets:
    """Finds data sets in the records; any thread."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._payloads = data_dir / "payloads"

    def get(self, dataset_id: str) -> Dataset:
        """The data set of that id; raises :class:`NoDataset`, also when its files were deleted."""
        match = _ID.fullmatch(dataset_id)
        if match is None:
            raise NoDataset("There is no such data set.")
        kind, record = match.groups()
        with self._database.read() as connection:
            job = _job(connection, kind, record)
            paths = _paths(connection, record) if kind == "r" else []
        if job is None:
            raise NoDataset("There is no such data set.")
        payload = self._payloads / job.payload_id
        if job.payload_deleted_at is not None or not payload.is_dir():
            raise NoDataset("The files of this data set were deleted.")
        found = _of_result(payload, paths) if kind == "r" else _of_job(payload)
        return Dataset(dataset_id, job.id, job.pipeline, job.payload_id, payload, tuple(found))

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """The newest data sets that were registered, as they are told to people."""
        query = (
            sa.select(results.c.id, results.c.job_id, results.c.state, results.c.created_at)
            .where(_registered())
            .order_by(results.c.created_at.desc(), results.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            {"id": f"r{row.id}", "job_id": row.job_id, "state": row.state,
             "created_at": row.created_at}
            for row in rows
        ]  # fmt: skip


def _registered() -> sa.ColumnElement[bool]:
    mine = sa.func.lower(results.c.agent) == RENDER_SERVER
    return sa.and_(mine, results.c.deliverable.is_(True))


def _job(connection: Connection, kind: str, record: str) -> Any:
    query = sa.select(
        jobs.c.id, jobs.c.payload_id, jobs.c.payload_deleted_at, pipelines.c.name.label("pipeline")
    ).join(pipelines, pipelines.c.id == jobs.c.pipeline_id)
    if kind == "r":
        query = query.join(results, results.c.job_id == jobs.c.id)
        query = query.where(results.c.id == record, _registered())
    else:
        # What a running job writes is not whole.
        query = query.where(jobs.c.id == record, jobs.c.state == "STOPPED")
    return connection.execute(query).one_or_none()


def _paths(connection: Connection, result_id: str) -> list[str]:
    query = (
        sa.select(result_files.c.path)
        .where(result_files.c.result_id == result_id)
        .order_by(result_files.c.id)
        .limit(sources.MOST_FILES)
    )
    return list(connection.execute(query).scalars())


def _of_result(payload: Path, paths: list[str]) -> list[Source]:
    found = sources.sources(payload, paths, sorted_by_series=False)
    if any(one.role == "image" for one in found):
        return found
    # Labels alone: they lie over the images that the job began with.
    return [*_images(payload), *found]


def _of_job(payload: Path) -> list[Source]:
    images = _images(payload)
    made = sources.sources(payload, sources.walk(payload, "operators"), sorted_by_series=False)
    segmentations = [one for one in made if one.format == "seg"]
    if not images:
        return made
    if segmentations:
        return images + segmentations
    labels = [one for one in made if one.role == "label"]
    return images + labels


def _images(payload: Path) -> list[Source]:
    series = list(sources.walk(payload, _SERIES))
    found = sources.sources(payload, series, sorted_by_series=True)
    if not series:
        found = sources.sources(payload, sources.walk(payload, "input"), sorted_by_series=False)
    return [one for one in found if one.role == "image"]
