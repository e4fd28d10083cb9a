"""Calls every method of NVIDIA's unmodified client; runs in the client's own environment.

usage: clara_driver.py HOST:PORT FOLDER      (prints one JSON object: step → result or error)

It imports nothing but the client: its protobuf is too old for the gateway's interpreter.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nvidia_clara.clara_client import ClaraClient
from nvidia_clara.job_types import JobFilter, JobId, JobPriority, JobState, JobStatus
from nvidia_clara.jobs_client import JobsClient
from nvidia_clara.model_types import CatalogId, ModelId
from nvidia_clara.models_client import ModelsClient
from nvidia_clara.payload_types import PayloadId
from nvidia_clara.payloads_client import PayloadsClient
from nvidia_clara.pipeline_types import PipelineDefinition, PipelineId
from nvidia_clara.pipelines_client import PipelinesClient

NOBODY = "0" * 31 + "1"
STOPPED = 3


class Driver:
    """Does the steps and keeps what each gave."""

    def __init__(self, target: str, folder: Path) -> None:
        self.folder = folder
        self.steps: dict[str, Any] = {}
        self.clara = ClaraClient(target)
        self.jobs = JobsClient(target)
        self.payloads = PayloadsClient(target)
        self.pipelines = PipelinesClient(target)
        self.models = ModelsClient(target)
        self.text = (folder / "copy.yaml").read_text()

    def step(self, name: str, call: Callable[[], Any]) -> Any:
        """Do one call; an exception of the client is its result."""
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - the client raises nothing narrower
            self.steps[name] = {"error": str(error)}
            return None
        self.steps[name] = {"result": plain(result)}
        return result

    def platform(self) -> None:
        """Clara."""
        self.step("version", lambda: vars(self.clara.version()))
        self.step(
            "list_utilization", lambda: [u.gpu_metrics for u in self.clara.list_utilization()]
        )
        self.step("stream_utilization", self._watch)
        self.step("stop", self.clara.stop)

    def _watch(self) -> list[int]:
        stream = self.clara.stream_utilization()
        found = [len(next(stream).gpu_metrics) for _ in range(2)]
        stream.close()
        return found

    def definitions(self) -> PipelineId:
        """Pipelines."""
        client = self.pipelines
        whole = [PipelineDefinition(name="pipeline.yaml", content=self.text)]
        pipeline = client.create_pipeline(whole, metadata={"Site": "A"})
        self.steps["create_pipeline"] = {"result": pipeline.value}
        self.step(
            "create_pipeline faulty",
            lambda: client.create_pipeline(
                [PipelineDefinition(name="bad.yaml", content="api-version: 0.4.0\nnam: x\n")]
            ),
        )
        other = self.text.replace("name: copy", "name: forced", 1)
        forced = PipelineId("A" * 32)
        self.step(
            "create_pipeline forced",
            lambda: (
                client.create_pipeline(
                    [PipelineDefinition(name="f.yaml", content=other)], pipeline_id=forced
                ).value
            ),
        )
        self.step(
            "create_pipeline forced again",
            lambda: (
                client.create_pipeline(
                    [PipelineDefinition(name="f.yaml", content=other)], pipeline_id=forced
                ).value
            ),
        )
        self.step(
            "list_pipelines",
            lambda: sorted(
                [i.name, i.pipeline_id.value, dict(i.metadata)] for i in client.list_pipelines()
            ),
        )
        self.step("pipeline_details", lambda: self._details(pipeline))
        self.step("pipeline_details unknown", lambda: client.pipeline_details(PipelineId(NOBODY)))
        newer = self.text + "# changed\n"
        self.step(
            "update_pipeline",
            lambda: client.update_pipeline(
                pipeline, [PipelineDefinition(name="pipeline.yaml", content=newer)]
            ),
        )
        self.step(
            "update_pipeline other name",
            lambda: client.update_pipeline(
                pipeline, [PipelineDefinition(name="pipeline.yaml", content=other)]
            ),
        )
        self.step("pipeline_details updated", lambda: self._details(pipeline))
        self.step(
            "pipeline add_metadata",
            lambda: dict(client.add_metadata(pipeline, {"Owner": "radiology"})),
        )
        self.step(
            "pipeline add_metadata twice", lambda: client.add_metadata(pipeline, {"OWNER": "x"})
        )
        self.step(
            "pipeline remove_metadata",
            lambda: dict(client.remove_metadata(pipeline, ["owner", "absent"])),
        )
        self.step(
            "pipeline remove_metadata unknown",
            lambda: client.remove_metadata(PipelineId(NOBODY), ["a"]),
        )
        self.step("remove_pipeline", lambda: client.remove_pipeline(PipelineId("a" * 32)))
        self.step("remove_pipeline again", lambda: client.remove_pipeline(PipelineId("a" * 32)))
        return pipeline

    def _details(self, pipeline: PipelineId) -> Any:
        found = self.pipelines.pipeline_details(pipeline)
        return [
            found.name,
            found.pipeline_id.value,
            dict(found.metadata),
            [d.content.content for d in found.definition],
        ]

    def files(self) -> PayloadId:
        """Payloads."""
        client = self.payloads
        made = client.create_payload(metadata={"kind": "reference"})
        payload = made.payload_id
        self.steps["create_payload"] = {"result": [payload.value, int(made.payload_type)]}
        self.step("create_payload bad metadata", lambda: client.create_payload({"k" * 129: "v"}))
        self.step("get_details empty", lambda: self._files(payload))
        self.step(
            "upload",
            lambda: vars(
                client.upload(payload, "/a/Reference.bin", file_object=io.BytesIO(b"x" * 200_000))
            ),
        )
        self.step(
            "upload path",
            lambda: vars(client.upload(payload, "b.txt", file_path=str(self.folder / "b.txt"))),
        )
        self.step(
            "upload outside",
            lambda: client.upload(payload, "../../b.txt", file_object=io.BytesIO(b"x")),
        )
        self.step(
            "upload unknown",
            lambda: client.upload(PayloadId(NOBODY), "b.txt", file_object=io.BytesIO(b"x")),
        )
        self.step(
            "upload empty", lambda: client.upload(payload, "empty.txt", file_object=io.BytesIO(b""))
        )
        self.step("get_details", lambda: self._files(payload))
        self.step(
            "get_details dashed",
            lambda: self._files(
                PayloadId(
                    "-".join(
                        payload.value[a:b]
                        for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
                    )
                )
            ),
        )
        self.step("get_details unknown", lambda: self._files(PayloadId(NOBODY)))
        self.step("download_from", lambda: self._download(payload, "./a/reference.BIN"))
        self.step("download_from missing", lambda: self._download(payload, "/a/other.bin"))
        self.step("payload add_metadata", lambda: dict(client.add_metadata(payload, {"b": "1"})))
        self.step("payload add_metadata twice", lambda: client.add_metadata(payload, {"B": "2"}))
        self.step("payload remove_metadata", lambda: dict(client.remove_metadata(payload, ["B"])))
        self.step(
            "payload remove_metadata unknown",
            lambda: client.remove_metadata(PayloadId(NOBODY), ["b"]),
        )
        self.step("remove_from", lambda: client.remove_from(payload, "/b.txt"))
        self.step("remove_from again", lambda: client.remove_from(payload, "/b.txt"))
        spare = client.create_payload().payload_id
        self.step("delete_payload", lambda: client.delete_payload(spare))
        self.step("delete_payload again", lambda: client.delete_payload(spare))
        return payload

    def _files(self, payload: PayloadId) -> Any:
        found = self.payloads.get_details(payload)
        files = [[f.name, f.size, f.mode] for f in found.file_details]
        return [found.payload_id.value, int(found.payload_type), files, dict(found.metadata)]

    def _download(self, payload: PayloadId, name: str) -> Any:
        target = io.BytesIO()
        details = self.payloads.download_from(payload, name, dest_obj=target)
        data = target.getvalue()
        return [details.name, details.size, len(data), data[-20:].decode("latin-1")]

    def flow(self, pipeline: PipelineId, reference: PayloadId) -> None:
        """NVIDIA's published flow: job, directory up, start, poll, details, results down, logs."""
        job = self.jobs.create_job(
            pipeline,
            "combined",
            input_payloads=[reference],
            metadata={"Source": "driver"},
            job_priority=JobPriority.Higher,
        )
        self.steps["create_job"] = {"result": [job.job_id.value, job.payload_id.value]}
        self.step(
            "create_job unknown pipeline", lambda: self.jobs.create_job(PipelineId(NOBODY), "x")
        )
        self.step(
            "create_job input of a job",
            lambda: self.jobs.create_job(pipeline, "x", input_payloads=[job.payload_id]),
        )
        self.step(
            "create_job collision",
            lambda: self.jobs.create_job(pipeline, "x", input_payloads=[reference, reference]),
        )
        self.step("get_status pending", lambda: self._status(job.job_id))
        for path in sorted((self.folder / "study").rglob("*")):
            if path.is_file():
                name = str(path.relative_to(self.folder / "study"))
                self.step(
                    f"upload {name}",
                    lambda path=path, name=name: vars(
                        self.payloads.upload(job.payload_id, name, file_path=str(path))
                    ),
                )
        self.step(
            "job payload add_metadata",
            lambda: self.payloads.add_metadata(job.payload_id, {"a": "b"}),
        )
        self.step(
            "start_job unknown variable", lambda: self.jobs.start_job(job.job_id, {"NOTHING": "x"})
        )
        self.step(
            "start_job",
            lambda: self._token(self.jobs.start_job(job.job_id, {"GREETING": "good morning"})),
        )
        self.step("start_job again", lambda: self.jobs.start_job(job.job_id))
        self.step(
            "upload read-only",
            lambda: self.payloads.upload(job.payload_id, "late.txt", file_object=io.BytesIO(b"x")),
        )
        deadline = time.monotonic() + 60
        while self.jobs.get_status(job.job_id).job_state != STOPPED:
            if time.monotonic() > deadline:
                raise SystemExit("the job did not stop")
            time.sleep(0.1)
        self.step("get_status", lambda: self._status(job.job_id))
        self.step("job details", lambda: self._files(job.payload_id))
        for name in [f.name for f in self.payloads.get_details(job.payload_id).file_details]:
            if name.split("/")[1] == "operators":
                self.step(
                    f"download {name}", lambda name=name: self._download(job.payload_id, "." + name)
                )
        self.step("job_logs", lambda: self.jobs.job_logs(job.job_id, "copy"))
        self.step("job_logs unknown", lambda: self.jobs.job_logs(job.job_id, "other"))
        self.step("cancel_job stopped", lambda: self.jobs.cancel_job(job.job_id))

    def rest(self, pipeline: PipelineId) -> None:
        """Jobs: what the flow does not show."""
        job = self.jobs.create_job(pipeline, "to be cancelled").job_id
        self.steps["second job"] = {"result": job.value}
        self.step("job add_metadata", lambda: dict(self.jobs.add_metadata(job, {"Key": "v"})))
        self.step("job add_metadata twice", lambda: self.jobs.add_metadata(job, {"kEY": "v"}))
        self.step("job remove_metadata", lambda: dict(self.jobs.remove_metadata(job, ["KEY"])))
        self.step(
            "job remove_metadata unknown", lambda: self.jobs.remove_metadata(JobId(NOBODY), ["KEY"])
        )
        self.step("job_logs pending", lambda: self.jobs.job_logs(job, "copy"))
        self.step("cancel_job", lambda: self._token(self.jobs.cancel_job(job, "not needed")))
        self.step("get_status unknown", lambda: self._status(JobId(NOBODY)))
        self.step("get_status wrong id", lambda: self._status(JobId("no id")))
        now = datetime.now(tz=UTC)
        filters = {
            "none": None,
            "stopped healthy": JobFilter(
                has_job_state=[JobState.Stopped], has_job_status=[JobStatus.Healthy]
            ),
            "canceled": JobFilter(has_job_status=[JobStatus.Canceled]),
            "pipeline": JobFilter(pipeline_ids=[pipeline]),
            "other pipeline": JobFilter(pipeline_ids=[PipelineId(NOBODY)]),
            "past": JobFilter(completed_before=now - timedelta(hours=1)),
            "recent": JobFilter(created_after=now - timedelta(hours=1)),
            "future": JobFilter(created_after=now + timedelta(hours=1)),
        }
        for name, wanted in filters.items():
            self.step(
                f"list_jobs {name}",
                lambda wanted=wanted: [j.name for j in self.jobs.list_jobs(wanted)],
            )
        self.step(
            "list_jobs wrong id",
            lambda: self.jobs.list_jobs(JobFilter(pipeline_ids=[PipelineId("no id")])),
        )
        self.step(
            "stream_jobs", lambda: [[j.name, str(j.date_created)] for j in self.jobs.stream_jobs()]
        )

    def repository(self) -> None:
        """The calls of the Models client that can work at all."""
        client = self.models
        catalog = self.step("create_catalog", client.create_catalog)
        self.step("create_instance", client.create_instance)
        self.step("delete_catalog", lambda: client.delete_catalog(catalog))
        self.step("delete_catalog unknown", lambda: client.delete_catalog(CatalogId(NOBODY)))
        self.step("list_models", client.list_models)
        model = ModelId((self.folder / "model").read_text())
        self.step("model add_metadata", lambda: dict(client.add_metadata(model, {"a": "1"})))
        self.step("model add_metadata twice", lambda: client.add_metadata(model, {"A": "1"}))
        self.step("model remove_metadata", lambda: dict(client.remove_metadata(model, ["A"])))
        self.step(
            "model remove_metadata unknown", lambda: client.remove_metadata(ModelId(NOBODY), ["A"])
        )

    def _status(self, job: JobId) -> Any:
        found = self.jobs.get_status(job)
        operators = {
            name: [int(d["status"]), d["started"].value > 0, d["stopped"].value > 0]
            for name, d in found.operator_details.items()
        }
        return {
            "name": found.name,
            "state": int(found.job_state),
            "status": int(found.job_status),
            "priority": int(found.job_priority),
            "created": str(found.date_created),
            "stopped": str(found.date_stopped),
            "operators": operators,
            "messages": list(found.messages),
            "metadata": dict(found.metadata),
            "ids": [found.job_id.value, found.pipeline_id.value, found.payload_id.value],
        }

    def _token(self, token: Any) -> Any:
        return [token.job_id.value, int(token.job_state), int(token.job_status)]


def plain(value: Any) -> Any:
    """``value`` as JSON has it."""
    return json.loads(json.dumps(value, default=lambda o: getattr(o, "value", None) or vars(o)))


def main() -> None:
    """Do everything once."""
    driver = Driver(sys.argv[1], Path(sys.argv[2]))
    driver.platform()
    pipeline = driver.definitions()
    reference = driver.files()
    driver.flow(pipeline, reference)
    driver.rest(pipeline)
    if (driver.folder / "model").exists():
        driver.repository()
    sys.stdout.write(json.dumps(driver.steps))


if __name__ == "__main__":
    main()
