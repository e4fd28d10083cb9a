"""Folders of the machine that services may see: those that the administrator allows, no others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.config.container import ContainerSettings
from gateway.config.settings import ImageSettings
from gateway.executors.container.executor import ContainerExecutor
from gateway.executors.process import ProcessExecutor
from gateway.pipelines.model import Service
from gateway.services.container import ContainerRunner
from gateway.services.process import ProcessRunner
from gateway.services.running import Runner
from gateway.services.spec import of_service


@pytest.fixture(params=["process", "container"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    """A runner whose administrator allows one folder."""
    allowed = [str(tmp_path / "allowed")]
    if request.param == "process":
        images = {"test/python": ImageSettings(command=[sys.executable])}
        return ProcessRunner(ProcessExecutor(images, host_volumes=allowed).engine)
    settings = ContainerSettings(socket=str(tmp_path / "none.sock"))
    return ContainerRunner(ContainerExecutor(settings, host_volumes=allowed).engine)


def test_a_service_sees_no_folder_that_is_not_allowed(runner: Runner, tmp_path: Path) -> None:
    # Whatever was checked when the pipeline was registered: a job's values may name another
    # folder, the settings may have changed, and a link may lead out.
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "out").symlink_to(tmp_path)

    def obstacle(folder: Path) -> str | None:
        service = Service("one", "test/python", "1", (), host_volume=str(folder))
        return runner.obstacle(of_service(service))

    assert obstacle(allowed) is None
    for folder in (tmp_path, allowed / "out", allowed / "none"):
        assert f"does not allow the folder {folder}" in (obstacle(folder) or "")
