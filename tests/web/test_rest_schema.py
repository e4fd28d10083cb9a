"""Schemathesis on the REST API of a gateway with data in it: nothing to find.

It calls every route with what the OpenAPI description allows and with what it does not, and holds
each answer against the description.  Identifiers are those of real records and made-up ones.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dicom import slice_
from tests.support.site import Site, write

SEED = 1
"""Fixed, so that the test is the same each time."""
SOME = "/api/tasks/|/where$|/jobs/|/payloads/[^/]*$"
LISTS = {
    "payload_id": "payloads", "job_id": "jobs", "result_id": "results",
    "association_id": "associations", "event_id": "events", "quarantine_id": "quarantine",
    "pipeline": "pipelines",
}  # fmt: skip
# What OpenAPI cannot say: that one of two parameters must be given, that a password is weak or
# wrong, that a text is no definition, that too many tried to sign in.
OPERATIONS = """
[[operations]]
include-name = "POST /api/v1/session"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "429"]
[[operations]]
include-name = "PUT /api/v1/session/password"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "409", "422", "429"]
[[operations]]
include-name = "POST /api/v1/users"
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422", "503"]
[[operations]]
include-name = "PATCH /api/v1/users/{name}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422", "503"]
[[operations]]
include-name = "POST /api/v1/pipelines"
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]

[[operations]]
include-name = "GET /api/v1/where"
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A gateway that has received, run, delivered and put into quarantine."""
    folder = tmp_path_factory.mktemp("schema")
    (folder / "out").mkdir()
    made = Site(folder / "gateway", destinations=[{"name": "PACS", "folder": str(folder / "out")}])
    made.start()
    assert made.http is not None
    made.http.headers["Authorization"] = f"Bearer {token(made)}"
    try:
        made.send([write(slice_(n), folder / f"{n}.dcm") for n in (1, 2)])
        made.send([write(slice_(3, StudyInstanceUID=None), folder / "3.dcm")])
        made.wait(lambda: made.items("results") and made.items("quarantine") and made.settled(), 90)
        yield made
    finally:
        assert made.stop() == 0


def parameters(site: Site) -> str:
    """Identifiers of records that are there, as schemathesis reads them."""
    known = {name: str(site.items(path)[0]["id"]) for name, path in LISTS.items()}
    known |= {"task_id": known["result_id"], "name": "PACS", "agent": "ClaraSCU"}
    return "\n".join(f'"path.{name}" = "{value}"' for name, value in known.items())


def test_nothing_is_found(site: Site, tmp_path: Path) -> None:
    """Every route with made-up identifiers, some in every way with those of real records."""
    call(site, tmp_path, "fuzzing", 4)
    known = f"[parameters]\n{parameters(site)}\n"
    call(site, tmp_path, "coverage", 4, "--include-path-regex", SOME, given=known)


@pytest.mark.prove
def test_prove_rest(site: Site, tmp_path: Path) -> None:
    """Every route in every way the tool knows, with identifiers of both kinds."""
    # Asked for first: the routes called below also discard records.
    known = f"[parameters]\n{parameters(site)}\n"
    for given in ("", known):
        call(site, tmp_path, "coverage,fuzzing,stateful", 200, given=given)


def token(site: Site) -> str:
    """A token that stays whatever users are made."""
    name = f"schema-{len(site.cli('list', 'tokens').stdout)}"
    return site.cli("create", "token", name, "--role", "administrator").stdout.strip()


def call(site: Site, folder: Path, phases: str, examples: int, *more: str, given: str = "") -> None:
    found = folder / "schemathesis.toml"
    found.write_text(given + OPERATIONS)
    base = f"http://127.0.0.1:{site.ports['http']}"
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            *("--config-file", found, "run", f"{base}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {token(site)}"),
            *("--checks", "all", "--phases", phases, "--max-examples", str(examples), *more),
            *("--seed", str(SEED), "--generation-database=none"),
            *("--no-color", "--warnings", "off"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # The gateway is as it was: it lives, and nothing failed inside it.
    log = (site.root / "gateway.log").read_text()
    assert "a request failed" not in log
    assert site.http is not None
    assert site.http.get("/health/ready").status_code == 200
