"""A job that runs on another engine than its definition asks for says so, wherever it is shown."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.clara import Api
from tests.support.site import Site, operator, pipeline

ARGO = "the definition asks for Argo (api-version 0.3.0); it runs on the process executor"
WRITE = "open('/output/done', 'w')"


def run(api: Api, site: Site, definition: dict[str, Any]) -> str:
    """A job of ``definition``, run to its end by hand."""
    definition["operators"][0]["requests"] = {"memory": 64}
    file = {"path": f"{definition['name']}.yaml", "content": yaml.safe_dump(definition)}
    made = api.Pipelines.Create(definition=file)
    assert made.header.code == 0, made.header.messages
    job = api.Jobs.Create(pipeline_id=made.pipeline_id)
    assert api.Jobs.Start(job_id=job.job_id).header.code == 0
    identifier: str = job.job_id.value
    site.wait(lambda: site.get(f"jobs/{identifier}")["state"] == "STOPPED")
    return identifier


def test_an_old_definition_runs_here_and_its_job_says_so(api: Api, site: Site) -> None:
    old = pipeline("of-argo", operator("write", WRITE)) | {"api-version": "0.3.0"}
    job = run(api, site, old)
    shown = site.get(f"jobs/{job}")
    assert (shown["status"], shown["notes"]) == ("HEALTHY", [ARGO])
    assert list(api.Jobs.Status(job_id={"value": job}).messages) == [ARGO]
    told = site.cli("describe", "job", job)
    assert told.returncode == 0
    assert ARGO in " ".join(told.stdout.split())


def test_a_job_with_nothing_to_say_has_no_notes(api: Api, site: Site) -> None:
    job = run(api, site, pipeline("of-clara", operator("write", WRITE)))
    assert site.get(f"jobs/{job}")["notes"] == []
    assert list(api.Jobs.Status(job_id={"value": job}).messages) == []
