"""``gateway serve`` and ``gateway demo``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.options import Config


class Role(StrEnum):
    """Which parts of the gateway a process runs."""

    ALL = "all"
    SCP = "scp"
    SCHEDULER = "scheduler"
    API = "api"
    DELIVERY = "delivery"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("serve")(serve)
    app.command("demo")(demo)


def serve(
    config: Config = None,
    role: Annotated[Role, typer.Option("--role", help="Run only these parts.")] = Role.ALL,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="[default: text on a terminal, else json]"),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level")] = LogLevel.INFO,
) -> None:
    """Run the gateway until SIGTERM or SIGINT; SIGHUP reads ae_config again.

    A bad settings file ends with exit code 2 and one line per fault. Several processes with
    different roles may share one data-dir and database.

    \b
    Examples:
      gateway serve
      gateway serve --config /etc/gateway/gateway.yaml --role scp
    """
    import logging

    from gateway.app import serve as run
    from gateway.config import settings
    from gateway.monitor.logging import configure

    found = settings.load(config)
    configure(
        log_format.value if log_format else None, logging.getLevelNamesMapping()[log_level.upper()]
    )
    code = run(found, role.value)
    if code:
        sys.exit(code)


def demo() -> None:
    """Show all of it: a phantom study goes in, results arrive in a PACS, nothing stays behind.

    \b
    Example:
      gateway demo
    """
    from gateway.demo import run

    code = run.main()
    if code:
        sys.exit(code)
