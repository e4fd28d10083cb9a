"""A stopped job with its payload on disk and in the database, without running anything."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from gateway.database.engine import Database
from gateway.database.schema import events, jobs, new_id, pipelines, result_files, results
from gateway.pipelines.model import Definition, Input, Operator, Output
from gateway.results import registry
from tests.support.databases import database_url
from tests.support.dicom import slice_

DEFINITION = Definition(
    api_version="0.4.0",
    name="test",
    operators=(
        Operator(
            name="writer",
            image="gateway/writer",
            inputs=(Input("/input"),),
            outputs=(Output("/output", "seg"), Output("/report", "report")),
        ),
        Operator(
            name="register",
            image="gateway/register-results",
            inputs=(
                Input("/input"),
                Input("/writer/seg", "writer", "seg"),
                Input("/writer/report", "writer", "report"),
            ),
            outputs=(Output("/output"),),
        ),
    ),
)


def write_instance(path: Path, syntax: str = ExplicitVRLittleEndian, **changes: Any) -> Dataset:
    """Write one small DICOM file; ``changes`` as for :func:`tests.support.dicom.slice_`."""
    ds = slice_(**changes)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return ds


@dataclass
class JobPayload:
    """The house of one test: ``data_dir`` with its database, and jobs that have ended."""

    data_dir: Path
    jobs: list[str] = field(default_factory=list)
    url: str = ""
    """Of the database; empty = SQLite in ``data_dir``."""

    def __post_init__(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.database = Database(self.url or database_url(self.data_dir))
        self.database.create()

    def job(self) -> str:
        """Insert a job; its payload has the job's own identifier."""
        job_id, pipeline_id, now = new_id(), new_id(), time.time()
        with self.database.begin() as connection:
            connection.execute(
                sa.insert(pipelines).values(
                    id=pipeline_id,
                    name=pipeline_id,
                    version=1,
                    digest="",
                    definition="",
                    file="",
                    metadata={},
                    created_at=now,
                )
            )
            connection.execute(
                sa.insert(jobs).values(
                    id=job_id,
                    correlation_id=new_id(),
                    name="job",
                    pipeline_id=pipeline_id,
                    payload_id=job_id,
                    selected=[],
                    priority=2,
                    state="RUNNING",
                    status="HEALTHY",
                    variables={},
                    destinations=[],
                    metadata={},
                    cpu=1,
                    memory_mb=1,
                    gpus=0,
                    timeout_seconds=1,
                    created_at=now,
                )
            )
        (self.folder(job_id) / "operators" / "register").mkdir(parents=True)
        (self.folder(job_id) / "input").mkdir()
        self.jobs.append(job_id)
        return job_id

    def folder(self, job_id: str) -> Path:
        """The job payload's folder."""
        return self.data_dir / "payloads" / job_id

    def write(self, job_id: str, count: int, first: int = 1, **changes: Any) -> list[str]:
        """Write ``count`` instances to the writer's ``seg``; returns their SOP Instance UIDs."""
        folder = self.folder(job_id) / "operators" / "writer" / "seg"
        return [
            str(write_instance(folder / f"{n:04}.dcm", number=n, **changes).SOPInstanceUID)
            for n in range(first, first + count)
        ]

    def registrations(self, job_id: str, document: object) -> None:
        """Write what the operator would have written to ``NVIDIA_CLARA_RESULTS``."""
        path = self.folder(job_id) / "operators" / "register" / ".clara-results.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))

    def register(
        self,
        job_id: str,
        parameters: Sequence[Any] | None = ("PACS",),
        agent: str = "ClaraSCU",
        *,
        attempt: int = 1,
        release: bool = True,
        defaults: Sequence[str] = (),
        known: Sequence[str] = ("PACS", "ARCHIVE"),
    ) -> list[str]:
        """Register every file below the writer's outputs; returns the results' identifiers."""
        base = self.folder(job_id) / "operators" / "writer"
        files = [
            {
                "input": path.relative_to(base).parts[0],
                "path": str(Path(*path.relative_to(base).parts[1:])),
            }
            for path in sorted(base.rglob("*"))
            if path.is_file()
        ]
        entry = {
            "agent": agent,
            "parameters": None if parameters is None else list(parameters),
            "files": files,
        }
        self.registrations(job_id, {"version": 1, "registrations": [entry]})
        found = registry.collect(self.folder(job_id), DEFINITION, "register")
        lower = {name.lower() for name in known}
        with self.database.begin() as connection:
            registry.register(
                connection,
                job_id=job_id,
                attempt=attempt,
                correlation_id=new_id(),
                registrations=found,
                default_destinations=defaults,
                known_destinations=lambda name: name.lower() in lower,
            )
            if release:
                registry.release(connection, job_id, attempt)
        return [row.id for row in self.results(job_id) if row.attempt == attempt]

    def results(self, job_id: str | None = None) -> list[sa.Row[Any]]:
        """Rows of ``results``, oldest first."""
        query = sa.select(results).order_by(results.c.created_at, results.c.id)
        if job_id is not None:
            query = query.where(results.c.job_id == job_id)
        with self.database.read() as connection:
            return list(connection.execute(query).all())

    def result(self, result_id: str) -> sa.Row[Any]:
        """One row of ``results``."""
        return next(row for row in self.results() if row.id == result_id)

    def files(self, result_id: str | None = None) -> list[sa.Row[Any]]:
        """Rows of ``result_files`` in order."""
        query = sa.select(result_files).order_by(result_files.c.id)
        if result_id is not None:
            query = query.where(result_files.c.result_id == result_id)
        with self.database.read() as connection:
            return list(connection.execute(query).all())

    def events(self, *kinds: str) -> list[sa.Row[Any]]:
        """Events of these kinds (all without), oldest first."""
        query = sa.select(events).order_by(events.c.seq)
        if kinds:
            query = query.where(events.c.kind.in_(kinds))
        with self.database.read() as connection:
            return list(connection.execute(query).all())

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def fresh_uid() -> str:
    """A new UID."""
    return str(generate_uid())
