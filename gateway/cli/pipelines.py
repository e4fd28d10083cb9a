"""Pipelines by what people call them."""

from __future__ import annotations

import re

from gateway.cli.errors import NOT_FOUND, USAGE, CliError
from gateway.cli.remote import Platform
from gateway.platform.wire import pipelines_pb2 as pb

_IDENTIFIER = re.compile(r"[({]?[0-9A-Fa-f]{8}(-?)([0-9A-Fa-f]{4}\1){3}[0-9A-Fa-f]{12}[)}]?")


def identified(platform: Platform, given: str) -> str:
    """The identifier of the pipeline that is ``given`` by identifier or by name.

    :class:`CliError`: not found, or a name (usage) that several pipelines have.
    """
    if _IDENTIFIER.fullmatch(given):
        return given
    found: list[str] = [
        answer.details.pipeline_id.value
        for answer in platform.stream("Pipelines.List", pb.PipelinesListRequest())
        if answer.details.name == given
    ]
    if not found:
        raise CliError(f"there is no pipeline {given!r}", NOT_FOUND)
    if len(found) > 1:
        raise CliError(
            f"{len(found)} pipelines are named {given!r}, say which by its identifier: "
            + ", ".join(found),
            USAGE,
        )
    return found[0]
