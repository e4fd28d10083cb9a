"""A gateway whose lung-density results are shown by the render server, for tests of the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.demo.assets import shipped
from gateway.demo.phantom import Identity, Options, Series, write_series
from tests.support.site import Site, application, rule


@dataclass(frozen=True)
class Shown:
    """The gateway, what was sent, and where its results can be looked at."""

    site: Site
    series: Series
    job: str
    result: str
    """The one registered for the render server."""

    @property
    def url(self) -> str:
        """Address of the console."""
        return f"http://127.0.0.1:{self.site.ports['http']}"


def lungs() -> dict[str, Any]:
    """The shipped pipeline, whose results go to the render server, too."""
    found: dict[str, Any] = yaml.safe_load((shipped("pipelines") / "lung-density.yaml").read_text())
    show = {
        "name": "show",
        "container": {
            "image": "gateway/register-results",
            "command": ["python", "register.py", "--agent", "renderserver"],
        },
        "requests": {"memory": 256},
        "input": [{"from": "dicom-writer", "path": "/input"}],
    }
    found["operators"].append(show)
    return found


@contextmanager
def shown_lungs(root: Path, *, slices: int = 24, matrix: int = 96) -> Iterator[Shown]:
    """Send a phantom through the pipeline; ready when the render server says so."""
    folder = root / "results"
    folder.mkdir()
    site = Site(
        root,
        pipelines=[lungs()],
        applications=[application(rule("lungs", pipeline="lung-density"))],
        destinations=[{"name": "PACS", "folder": str(folder)}],
    )
    identity = Identity(patient_id="PHANTOM-1", accession_number="ACC-1")
    series = write_series(root / "sent", Options(slices=slices, matrix=matrix, identity=identity))
    try:
        site.start()
        site.send(series.files)
        site.wait(lambda: _delivered(site), 170)
        (job,) = site.items("jobs")
        result = next(r for r in site.items("results") if r["agent"] == "renderserver")
        yield Shown(site, series, job["id"], result["id"])
    finally:
        site.stop()


def _delivered(site: Site) -> bool:
    states = {r["agent"]: r["state"] for r in site.items("results")}
    assert "FAILED" not in states.values(), site.items("results")
    return states.get("renderserver") == "DELIVERED"
