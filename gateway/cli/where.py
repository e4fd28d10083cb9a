"""Printing where a study is: the whole story of each payload that holds it."""

from __future__ import annotations

from typing import Any

from gateway.cli import show
from gateway.cli.address import Given
from gateway.cli.client import Client
from gateway.cli.errors import NOT_FOUND, CliError


def tell(given: Given, study: str | None, accession: str | None, as_json: bool) -> None:
    """Print the answer; raises :class:`CliError` (not found) when no payload holds the study."""
    with Client.of(given) as client:
        answer = client.get("/api/v1/where", {"study": study, "accession": accession})
    if as_json:
        show.as_json(answer["payloads"])
    else:
        for payload in answer["payloads"]:
            story(payload)
    if answer["found"]:
        show.notes(answer["notes"])
        return
    raise CliError("\n".join(answer["notes"]), NOT_FOUND)


def story(payload: dict[str, Any]) -> None:
    """Print one payload and its timeline."""
    show.heading(f"payload {payload['id']}: {payload['state']}")
    names = "called_ae calling_ae host instances revision study_instance_uid reason"
    show.fields(payload, names.split())
    show.table(payload["timeline"], ("time", "text"))
