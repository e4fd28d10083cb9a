"""NVIDIA's unmodified client, every method of it, against a gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support import clara

pytestmark = pytest.mark.peers
DRIVER = Path(__file__).resolve().parents[1] / "support" / "clara_driver.py"
READ_ONLY = 0o444
REUSABLE, PIPELINE = 2, 1


@pytest.fixture(scope="module")
def steps(
    fresh_site: Callable[..., Any],
    client_run: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    definition: Callable[..., str],
) -> dict[str, Any]:
    """What every call of the driver gave: result, or the text of its exception."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "copy.yaml").write_text(definition())
    (folder / "b.txt").write_text("bbb")
    study = folder / "study"
    (study / "dcm").mkdir(parents=True)
    (study / "2.txt").write_text("two")
    (study / "dcm" / "1.dcm").write_bytes(b"d" * 300_000)
    with fresh_site(tmp_path_factory.mktemp("client")) as site:
        target = f"127.0.0.1:{site.ports['grpc']}"
        with grpc.insecure_channel(target) as channel:
            upload = clara.Api(channel).Models.UploadModel
            uploaded = upload(details={"name": "lung", "type": 3}, data=b"weights")
        (folder / "model").write_text(uploaded.details.model_id.value)
        return client_run(DRIVER, target, str(folder))


@pytest.fixture
def result(steps: dict[str, Any]) -> Callable[[str], Any]:
    def look(step: str) -> Any:
        assert "result" in steps[step], steps[step]
        return steps[step]["result"]

    return look


ERRORS = {
    "create_pipeline faulty": "bad.yaml:2: nam: unknown key",
    "create_pipeline forced again": "is taken",
    "pipeline_details unknown": "there is no pipeline",
    "update_pipeline other name": "is called 'forced'",
    "pipeline add_metadata twice": "'OWNER' is there already",
    "pipeline remove_metadata unknown": "there is no pipeline",
    "remove_pipeline again": "there is no pipeline",
    "create_payload bad metadata": "more than 128 bytes",
    "upload outside": "leads out of the payload",
    "upload unknown": "there is no payload",
    "upload empty": "NVIDIA's Python client sends none for an empty file",
    "get_details unknown": "there is no payload",
    "download_from missing": "there is no file /a/other.bin",
    "payload add_metadata twice": "'B' is there already",
    "payload remove_metadata unknown": "there is no payload",
    "remove_from again": "there is no file /b.txt",
    "delete_payload again": "there is no payload",
    "create_job unknown pipeline": "there is no pipeline",
    "create_job input of a job": "needs a reusable payload",
    "create_job collision": "is in another input payload too",
    "job payload add_metadata": "needs a reusable payload",
    "start_job unknown variable": "declares no parameter NOTHING",
    "start_job again": "was started already",
    "upload read-only": "read-only",
    "cancel_job stopped": "STOPPED",
    "job add_metadata twice": "'kEY' is there already",
    "job remove_metadata unknown": "there is no job",
    "get_status unknown": "there is no job",
    "get_status wrong id": "is no job id",
    "list_jobs wrong id": "is no pipeline id",
    "delete_catalog unknown": "there is no catalog",
    "model add_metadata twice": "'A' is there already",
    "model remove_metadata unknown": "there is no model",
}


@pytest.mark.parametrize("step", ERRORS)
def test_errors_reach_the_caller(steps: dict[str, Any], step: str) -> None:
    assert ERRORS[step] in steps[step].get("error", f"no error: {steps[step]}")


def test_nothing_else_failed(steps: dict[str, Any]) -> None:
    # The client itself cannot read a list of models (it takes the repeated field for one model).
    failed = {step for step, outcome in steps.items() if "error" in outcome}
    assert failed - set(ERRORS) == {"list_models"}


def test_platform(result: Callable[[str], Any]) -> None:
    assert result("version") == {"_major": 0, "_minor": 1, "_patch": 0, "_label": "gateway"}
    assert result("list_utilization") == [[]]
    assert result("stream_utilization") == [0, 0]


def test_pipelines(result: Callable[[str], Any], definition: Callable[..., str]) -> None:
    made = result("create_pipeline")
    assert result("create_pipeline forced") == "a" * 32
    assert result("list_pipelines") == [["copy", made, {"Site": "A"}], ["forced", "a" * 32, {}]]
    assert result("pipeline_details") == ["copy", made, {"Site": "A"}, [definition()]]
    updated = definition() + "# changed\n"
    assert result("pipeline_details updated") == ["copy", made, {"Site": "A"}, [updated]]
    assert result("pipeline add_metadata") == {"Site": "A", "Owner": "radiology"}
    assert result("pipeline remove_metadata") == {"Site": "A"}


def test_payloads(result: Callable[[str], Any]) -> None:
    payload, kind = result("create_payload")
    assert kind == REUSABLE
    assert result("get_details empty") == [payload, REUSABLE, [["", 0, 0]], {"kind": "reference"}]
    big = ["/a/Reference.bin", 200_000, READ_ONLY]
    assert result("upload") == {"_name": big[0], "_size": big[1], "_mode": big[2]}
    files = [big, ["/b.txt", 3, READ_ONLY]]
    assert result("get_details") == [payload, REUSABLE, files, {"kind": "reference"}]
    assert result("get_details dashed") == result("get_details")
    assert result("download_from") == [big[0], 200_000, 200_000, "x" * 20]
    assert result("payload add_metadata") == {"kind": "reference", "b": "1"}
    assert result("payload remove_metadata") == {"kind": "reference"}


def test_published_flow(result: Callable[[str], Any]) -> None:
    job, payload = result("create_job")
    pending = result("get_status pending")
    assert (pending["state"], pending["status"], pending["priority"]) == (1, 1, 3)
    assert pending["operators"] == {"copy": [1, False, False]}
    assert result("start_job") == [job, 1, 1]
    done = result("get_status")
    assert (done["state"], done["status"], done["messages"]) == (3, 1, [])
    assert done["operators"] == {"copy": [3, True, True]}
    assert done["ids"] == [job, result("create_pipeline"), payload]
    assert done["metadata"] == {"Source": "driver"}
    found, kind, files, _ = result("job details")
    assert (found, kind) == (payload, PIPELINE)
    names = {"1.dcm": 300_000, "2.txt": 3, "Reference.bin": 200_000}
    inputs = {"/input/dcm/1.dcm", "/input/2.txt", "/input/a/Reference.bin"}
    assert {name for name, _, _ in files} == inputs | {f"/operators/copy/{n}" for n in names}
    for name, size in names.items():
        whole = result(f"download /operators/copy/{name}")
        assert whole[:3] == [f"/operators/copy/{name}", size, size]
    assert result("job_logs") == ["good morning", "2.txt", "Reference.bin", "1.dcm"]


def test_jobs(result: Callable[[str], Any]) -> None:
    assert result("job add_metadata") == {"Key": "v"}
    assert result("job remove_metadata") == {}
    assert result("job_logs pending") == []
    # The client does not look at the header of a stream of logs.
    assert result("job_logs unknown") == []
    assert result("cancel_job") == [result("second job"), 3, 3]
    both = ["to be cancelled", "combined"]
    expected = {
        "none": both,
        "stopped healthy": ["combined"],
        "canceled": ["to be cancelled"],
        "pipeline": both,
        "other pipeline": [],
        "past": [],
        "recent": both,
        "future": [],
    }
    assert {name: result(f"list_jobs {name}") for name in expected} == expected
    assert [name for name, _ in result("stream_jobs")] == both


def test_models(result: Callable[[str], Any]) -> None:
    assert len(result("create_catalog")) == 32
    assert len(result("create_instance")) == 32
    assert result("model add_metadata") == {"a": "1"}
    assert result("model remove_metadata") == {}
