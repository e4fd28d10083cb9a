"""Images in the layouts of MONAI Deploy and mercure, run unchanged on a real Podman."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest

from gateway.config.container import ContainerImage, ContainerSettings
from gateway.executors.container.executor import ContainerExecutor
from gateway.executors.container.layouts.package import manifest
from gateway.jobs.executor import End
from tests.support.containers import make_images
from tests.support.dicom import slice_
from tests.support.orthanc import running_orthanc
from tests.support.podman import Podman, map_files
from tests.support.site import Site, application, pipeline, rule, write

MERCURE = {"layout": "mercure", "settings": {"threshold": 1, "kept": "yes"}}


@pytest.fixture(scope="session")
def images(podman: Podman) -> Podman:
    make_images(podman)
    return podman


def study(folder: Path, count: int = 3) -> list[Path]:
    return [write(slice_(n), folder / f"{n}.dcm") for n in range(1, count + 1)]


def described(image: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "make",
        "container": {"image": f"localhost/test/{image}", "tag": "1"},
        "input": [{"path": "/in"}],
        "output": [{"path": "/out"}],
        "requests": {"memory": 256},
    } | more


def registering() -> dict[str, Any]:
    return described("register-results", name="register", input=[{"from": "make", "path": "/in"}])


def scan(job_folder: Path) -> Path:
    """The folder that the payload of the fixture has for one series."""
    folder = job_folder / "input" / "dcm" / "p" / "st" / "se"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.peers
def test_monai_application_package(start: Callable[..., Any], images: Podman, tmp_path: Path):
    folder = tmp_path / "payload"
    study(scan(folder))
    engine = ContainerExecutor(ContainerSettings(socket=images.socket))
    job = start(f"- {json.dumps(described('map'))}\n", executor=engine, folder=folder)
    assert job.wait(60).ends["make"].end is End.COMPLETED, job.log("make")
    ds = pydicom.dcmread(folder / "operators" / "make" / "result.dcm")
    assert ds.SeriesDescription == "from MAP"
    log = job.log("make").splitlines()
    assert log[0] == "[gateway] the package asks for 2048 MB, the definition gives it 256 MB"
    assert log[-1] == "application ran"


@pytest.mark.peers
def test_mercure_module(start: Callable[..., Any], images: Podman, tmp_path: Path):
    folder = tmp_path / "payload"
    study(scan(folder))
    told = {"localhost/test/mercure": ContainerImage.model_validate(MERCURE)}
    engine = ContainerExecutor(ContainerSettings(socket=images.socket, images=told))
    operator = described("mercure", variables={"MERCURE_SETTINGS": '{"threshold": 3}'})
    job = start(f"- {json.dumps(operator)}\n", executor=engine, folder=folder)
    assert job.wait(60).ends["make"].end is End.COMPLETED, job.log("make")
    (file,) = (folder / "operators" / "make").iterdir()
    series, sop = file.stem.split("#")
    ds = pydicom.dcmread(file)
    assert (ds.SeriesInstanceUID, ds.SOPInstanceUID) == (series, sop)
    assert ds.InstanceNumber == 3
    assert '"volume": 7' in job.log("make")
    assert "the notification it asks for is not sent" in job.log("make")
    assert [p.name for p in (folder / "operators").iterdir()] == ["make"], "no staging is left"


@pytest.mark.peers
def test_image_without_manifests_is_no_package(start: Callable[..., Any], podman: Podman):
    told = {"localhost/test/sh:1": ContainerImage(layout="map")}
    engine = ContainerExecutor(ContainerSettings(socket=podman.socket, images=told))
    job = start(f"- {json.dumps(described('sh'))}\n", executor=engine)
    end = job.wait(60).ends["make"]
    assert end.end is End.IMAGE_MISSING
    assert "no MONAI application package" in end.reason


def test_manifests_of_old_and_new_packagers_are_read() -> None:
    files = {path: str(text).encode() for path, text in map_files("python /a 'b c'").items()}
    old = manifest("/etc/monai", files["/etc/monai/app.json"], files["/etc/monai/pkg.json"])
    assert old.command == ("python", "/a", "b c")
    assert (old.input, old.output) == ("/var/monai/input", "/var/monai/output")
    assert (old.memory_mb, old.models) == (2048, ("/opt/monai/models/net.ts",))
    app = {
        "apiVersion": "1.0.0", "command": '["python3", "/opt/holoscan/app"]',
        "environment": {"A": 1, "bad name": "x"}, "workingDirectory": "/var/holoscan",
        "input": {"path": "../../etc"}, "output": {"path": "/"},
    }  # fmt: skip
    package = {"models": {"net": "/opt/holoscan/models/net"}, "resources": {"gpu": 1}}
    new = manifest("/etc/holoscan", json.dumps(app).encode(), json.dumps(package).encode())
    assert new.command == ("python3", "/opt/holoscan/app")
    assert (new.environ, new.working, new.gpus) == ({"A": "1"}, "/var/holoscan", 1)
    assert (new.input, new.output) == (None, None), "a manifest leads nowhere else"
    for broken in (b"[1]", b"no"):
        with pytest.raises(ValueError, match=r"app\.json"):
            manifest("/etc/monai", broken, None)


def site_settings(images: Podman) -> Mapping[str, Any]:
    return {
        "executor": "container",
        "container": {
            "socket": str(images.socket),
            "pull": "never",
            "images": {"localhost/test/mercure": MERCURE},
        },
    }


@pytest.mark.peers
def test_study_goes_through_containers_to_orthanc(images: Podman, tmp_path: Path):
    mercure = described("mercure", variables={"MERCURE_SETTINGS": '{"threshold": 3}'})
    with running_orthanc(tmp_path) as orthanc:
        site = Site(
            tmp_path / "site",
            pipelines=[
                pipeline("map", described("map"), registering()),
                pipeline("mercure", mercure, registering()),
            ],
            applications=[application(rule("a", pipeline="map"), rule("b", pipeline="mercure"))],
            destinations=[
                {"name": "PACS", "ae-title": "ORTHANC", "host": "127.0.0.1", "port": orthanc.port}
            ],
            settings=site_settings(images),
        )
        site.start()
        try:
            sent = site.send(study(tmp_path / "study"))
            assert [s.status for s in sent] == [0, 0, 0]
            site.wait(lambda: site.items("jobs") and site.settled(), 120)
            jobs = site.items("jobs")
            assert {(j["status"], j["reason"]) for j in jobs} == {("HEALTHY", None)}
            found = {t["SeriesDescription"] for t in orthanc.wait_for(2)}
            assert found == {"from MAP", "from mercure"}
            told = images.api.inspect_image("localhost/test/map:1")
            digest = [*told["RepoDigests"], told["Id"]][0]
            events = site.items("events", kind="operator/started")
            assert digest in {event["data"].get("image") for event in events}
            assert images.api.containers(all=True) == []
        finally:
            site.stop()


@pytest.mark.peers
@pytest.mark.crash
@pytest.mark.prove
def test_gateway_killed_in_a_job_never_runs_it_twice_at_once(images: Podman, tmp_path: Path):
    slow = described("sh", container={"image": "localhost/test/sh", "tag": "1", "command": [
        "sh", "-c", "[ $GATEWAY_JOB_ATTEMPT = 1 ] && sleep 600; echo > /out/x",
    ]})  # fmt: skip
    site = Site(
        tmp_path / "site",
        pipelines=[pipeline("derive", slow)],
        destinations=[{"name": "PACS", "folder": str(tmp_path / "out")}],
        settings=site_settings(images),
    )
    site.start()
    try:
        site.send(study(tmp_path / "study", 1))
        (left,) = site.wait(images.api.containers, 60)
        site.kill()
        assert [c["Id"] for c in images.api.containers()] == [left["Id"]], "it runs on, alone"
        site.start()
        site.wait(lambda: site.settled() and site.items("jobs"), 60)
        (job,) = site.items("jobs")
        assert (job["status"], job["attempt"], job["reason"]) == ("HEALTHY", 2, None)
        assert images.api.containers(all=True) == []
    finally:
        site.stop()
