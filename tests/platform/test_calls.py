"""What all calls share: missing headers, hostile streams, health, reflection, pipelines, models."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.platform.errors import Code
from gateway.platform.wire import models_pb2, pipelines_pb2
from tests.support.clara import Api
from tests.support.site import Site

NOBODY = {"value": "0" * 31 + "1"}


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    request = health_pb2.HealthCheckRequest(service="nvidia.clara.platform.Jobs")
    assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(reflection.ServerReflectionInfo(iter([asked])))
    names = {service.name for service in answer.list_services_response.service}
    ours = {"Clara", "Jobs", "Models", "Payloads", "Pipelines", "node_monitor.Monitor"}
    assert {f"nvidia.clara.platform.{name}" for name in ours} <= names


def test_the_gateway_tells_where_it_serves(site: Site) -> None:
    assert site.http is not None
    parts = site.http.get("/health").json()
    assert parts["parts"]["grpc"]["port"] == site.ports["grpc"]


def test_the_monitor_streams_nothing_without_a_gpu(api: Api) -> None:
    stream = api.Monitor.GpuMetrics()
    assert list(next(stream).gpu_details) == []
    stream.cancel()


@pytest.mark.parametrize(
    ("service", "method", "field"),
    [
        ("Jobs", "Status", "job_id"),
        ("Jobs", "Start", "job_id"),
        ("Jobs", "Cancel", "job_id"),
        ("Jobs", "ReadLogs", "job_id"),
        ("Payloads", "Delete", "payload_id"),
        ("Payloads", "Details", "payload_id"),
        ("Pipelines", "Details", "pipeline_id"),
        ("Pipelines", "Remove", "pipeline_id"),
        ("Models", "DeleteModel", "model_id"),
        ("Models", "DownloadModel", "model_id"),
        ("Models", "ReadCatalog", "catalog_id"),
        ("Models", "ReadInstance", "instance_id"),
        ("Models", "DeleteInstance", "instance_id"),
    ],
)
def test_what_is_not_there_is_told_in_band(api: Api, service: str, method: str, field: str) -> None:
    def code(**fields: Any) -> int:
        answer = getattr(getattr(api, service), method)(**fields)
        answer = answer if hasattr(answer, "header") else next(answer)
        assert answer.header.messages
        found: int = answer.header.code
        return found

    assert code(**{field: NOBODY}) == Code.NOT_FOUND
    assert code() == Code.INVALID
    assert code(**{field: {"value": "../../x"}}) == Code.INVALID


def test_definitions_have_limits(api: Api) -> None:
    request = pipelines_pb2.PipelinesCreateRequest
    big = [request(definition={"path": "p", "content": "#" * 900_000}) for _ in range(2)]
    assert api.Pipelines.Create(*big).header.code == Code.LIMIT
    many = [request(definition={"path": str(n), "content": "a"}) for n in range(100)]
    assert api.Pipelines.Create(*many).header.code == Code.LIMIT
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n"
        for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    answer = api.Pipelines.Create(definition={"path": "bomb", "content": bomb})
    assert answer.header.code == Code.INVALID
    assert len(answer.header.messages) <= 50


def test_imports_come_with_the_definition(api: Api, definition: Callable[..., str]) -> None:
    request = pipelines_pb2.PipelinesCreateRequest
    whole = yaml.safe_load(definition("whole"))
    part = yaml.safe_dump(
        {"name": "part", **whole["operators"][0], "parameters": {"GREETING": "x"}}
    )
    text = yaml.safe_dump(
        {
            "api-version": "0.4.0",
            "name": "imports",
            "operators": [{"name": "first", "import": {"path": "part.yaml"}}],
        }
    )
    files = [("pipeline.yaml", text), ("part.yaml", part)]
    messages = [request(definition={"path": path, "content": content}) for path, content in files]
    made = api.Pipelines.Create(*messages)
    assert made.header.code == 0, made.header
    answers = list(api.Pipelines.Details(pipeline_id=made.pipeline_id))
    assert [(a.definition.path, a.definition.content) for a in answers] == files
    assert [node.name for node in answers[0].dag] == ["first"]
    alone = api.Pipelines.Create(messages[0])
    assert alone.header.code == Code.INVALID
    assert "part.yaml" in alone.header.messages[0]
    assert api.Pipelines.Create(*messages, messages[1]).header.code == Code.EXISTS


def test_an_update_leaves_jobs_alone(api: Api, definition: Callable[..., str]) -> None:
    text = definition("versions")
    pipeline = api.Pipelines.Create(definition={"content": text}).pipeline_id
    same = api.Pipelines.Create(definition={"content": text}).pipeline_id
    assert same == pipeline
    job = api.Jobs.Create(pipeline_id=pipeline, name="old")
    renamed = text.replace("name: copy", "name: duplicate", 1)
    assert (
        api.Pipelines.Update(pipeline_id=pipeline, definition={"content": renamed}).header.code == 0
    )
    status = api.Jobs.Status(job_id=job.job_id)
    assert [node.name for node in status.dag] == ["copy"]
    assert status.pipeline_id == pipeline
    details = next(api.Pipelines.Details(pipeline_id=pipeline))
    assert [node.name for node in details.dag] == ["duplicate"]
    # Somebody else's definition of that name is another pipeline.
    other = api.Pipelines.Create(definition={"content": text + "# else\n"}).pipeline_id
    assert other != pipeline
    details = next(api.Pipelines.Details(pipeline_id=pipeline))
    assert [node.name for node in details.dag] == ["duplicate"]
    assert api.Pipelines.Remove(pipeline_id=pipeline).header.code == 0
    assert api.Jobs.Create(pipeline_id=pipeline, name="x").header.code == Code.NOT_FOUND
    assert api.Jobs.Cancel(job_id=job.job_id).header.code == 0


def test_job_names_and_priorities(api: Api, definition: Callable[..., str]) -> None:
    pipeline = api.Pipelines.Create(definition={"content": definition("names")}).pipeline_id
    assert api.Jobs.Create(pipeline_id=pipeline, name="x" * 129).header.code == Code.LIMIT
    assert api.Jobs.Create(pipeline_id=pipeline, name="a\nb").header.code == Code.INVALID
    assert api.Jobs.Create(pipeline_id=pipeline, priority=9).header.code == Code.INVALID
    unnamed = api.Jobs.Create(pipeline_id=pipeline)
    status = api.Jobs.Status(job_id=unnamed.job_id)
    assert status.name.startswith("names-2")
    assert status.priority == 2
    assert status.timestamp_created.endswith("Z")
    twice = [{"name": "GREETING", "value": "a"}, {"name": "GREETING", "value": "b"}]
    assert api.Jobs.Start(job_id=unnamed.job_id, Variables=twice).header.code == Code.EXISTS
    assert api.Jobs.Cancel(job_id=unnamed.job_id).header.code == 0


def tarred(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


LAYOUT = {"seg/config.pbtxt": b"name: 'seg'", "seg/1/model.plan": b"p" * 3_000_000}


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_a_model_is_unpacked_and_comes_back(
    api: Api, site: Site, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    data = pack(LAYOUT)
    request = models_pb2.ModelsUploadModelRequest
    pieces = [data[i : i + 50_000] for i in range(0, len(data), 50_000)]
    answer = api.Models.UploadModel(
        *[request(details={"name": "seg", "type": 2}, data=piece) for piece in pieces]
    )
    assert answer.header.code == 0
    folder = site.root / "models" / "seg"
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {name.removeprefix("seg/"): content for name, content in LAYOUT.items()}
    answers = list(api.Models.DownloadModel(model_id=answer.details.model_id))
    with tarfile.open(fileobj=io.BytesIO(b"".join(a.data for a in answers))) as archive:
        assert set(archive.getnames()) == set(LAYOUT)
    assert not (site.root / "models" / ".uploads" / "x").exists()


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("../x", b"x", Code.INVALID),
        ("", b"x", Code.INVALID),
        ("evil", tarred({"1/../../../x": b"x"}), Code.INVALID),
        ("evil", zipped({"../1/x": b"x"}), Code.INVALID),
        ("evil", zipped({"a.txt": b"x"}), Code.INVALID),
        ("evil", b"not an archive", Code.INVALID),
        ("evil", tarred(LAYOUT)[:2000], Code.INVALID),
    ],
    ids=["name-up", "no-name", "tar-up", "zip-up", "no-layout", "no-archive", "cut-short"],
)
def test_bad_models_leave_nothing(api: Api, site: Site, name: str, data: bytes, code: int) -> None:
    answer = api.Models.UploadModel(details={"name": name}, data=data)
    assert answer.header.code == code, answer
    assert not (site.root / "models" / "evil").exists()
    uploads = site.root / "models" / ".uploads"
    assert not uploads.exists() or list(uploads.iterdir()) == []


def test_models_catalogs_and_instances(api: Api, site: Site) -> None:
    upload = api.Models.UploadModel(
        details={"name": "nodule", "type": 3, "metadata": {"organ": "lung"}}, data=b"weights"
    )
    model = upload.details.model_id
    digest = upload.details.metadata["digest"]
    assert digest.startswith("sha256:")
    assert (site.root / "models" / "nodule" / "1" / "model.pt").read_bytes() == b"weights"
    again = api.Models.UploadModel(details={"name": "nodule", "type": 3}, data=b"better")
    assert again.details.model_id == model
    assert again.details.metadata["digest"] != digest
    assert again.details.metadata["organ"] == "lung"
    assert b"".join(a.data for a in api.Models.DownloadModel(model_id=model)) == b"better"
    (site.root / "models" / "byhand" / "1").mkdir(parents=True)
    (site.root / "models" / "byhand" / "1" / "model.pt").write_bytes(b"x")
    names = {m.name: m for a in api.Models.ListModels() for m in a.models}
    assert {"nodule", "byhand"} <= set(names)
    assert names["byhand"].type == 3
    for kind in ("Catalog", "Instance"):
        field = f"{kind.lower()}_id"
        made = getattr(getattr(api.Models, f"Create{kind}")(), field)
        update = getattr(api.Models, f"Update{kind}")
        assert update(**{field: made}, model_ids=[NOBODY]).header.code == Code.NOT_FOUND
        assert update(**{field: made}, model_ids=[model, model]).header.code == 0
        read = list(getattr(api.Models, f"Read{kind}")(**{field: made}))
        assert [m.name for a in read for m in a.models] == ["nodule"]
        assert api.Models.DeleteModel(model_id=model).header.code == Code.REFUSED
        listed = list(getattr(api.Models, f"List{kind}s")())
        assert any(
            [m.name for m in each.models] == ["nodule"]
            for a in listed
            for each in (a.catalogs if kind == "Catalog" else a.instances)
        )
        assert getattr(api.Models, f"Delete{kind}")(**{field: made}).header.code == 0
    assert api.Models.DeleteModel(model_id=model).header.code == 0
    assert not (site.root / "models" / "nodule").exists()
    assert api.Models.DeleteModel(model_id=model).header.code == Code.NOT_FOUND
