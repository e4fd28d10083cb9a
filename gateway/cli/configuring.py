"""``gateway config``, ``gateway rules`` and ``gateway doctor``: looking before running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.config.applications import AeConfig
    from gateway.config.settings import GatewaySettings

config = group("Check or show the configuration.")
rules = group("Understand the rules of ae_config.")


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(config, name="config")
    app.add_typer(rules, name="rules")
    app.command("doctor")(doctor)


@config.command("check", connected=False)
def check(config_file: Config = None, as_json: Json = False) -> None:
    """Check gateway.yaml, ae_config and the pipelines; exit 2 with one line per fault.

    \b
    Example:
      gateway config check --config /etc/gateway/gateway.yaml
    """
    import dataclasses

    from gateway.cli import show
    from gateway.cli.checking import check_all
    from gateway.cli.errors import USAGE
    from gateway.config.document import ConfigError

    try:
        found = check_all(config_file)
    except ConfigError as error:
        if not as_json:
            raise
        show.as_json({"faults": [dataclasses.asdict(fault) for fault in error.faults]})
        sys.exit(USAGE)
    if as_json:
        show.as_json({"faults": []})
    else:
        show.lines(found)


@config.command("show", connected=False)
def show_config(config_file: Config = None, as_json: Json = False) -> None:
    """Print the settings in force: file, environment and defaults together, without passwords.

    \b
    Example:
      gateway config show --json
    """
    import yaml

    from gateway.cli import show
    from gateway.config import settings

    data = without_passwords(settings.load(config_file).model_dump(mode="json", by_alias=True))
    if as_json:
        show.as_json(data)
    else:
        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def without_passwords(data: dict[str, Any]) -> dict[str, Any]:
    """The same settings with passwords in addresses replaced by stars."""
    import re

    for section in ("database", "mqtt"):
        url = data[section]["url"]
        if url:
            shown = re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)
            data[section] = {**data[section], "url": shown}
    return data


@rules.command("explain", connected=False)
def explain(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files and folders.")],
    called: Annotated[str, typer.Option("--called", help="AE title the study is sent to.")],
    calling: Annotated[str, typer.Option("--calling", help="AE title that sends it.")] = "ANY-SCP",
    host: Annotated[str, typer.Option("--host", help="Address it comes from.")] = "127.0.0.1",
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Say which rules match the files and why, without storing or running anything.

    \b
    Example:
      gateway rules explain study/ --called LUNG_CT --calling CT1
    """
    import dataclasses
    import logging

    from gateway.cli import show
    from gateway.cli.explaining import tell
    from gateway.monitor.logging import configure
    from gateway.routing.explain import explain as explain_files

    configure("text", logging.WARNING)
    _, ae_config = load(config_file)
    found = explain_files(paths, called, calling, host, ae_config)
    if as_json:
        show.as_json([dataclasses.asdict(item) for item in found])
        return
    for item in found:
        tell(item)


def doctor(
    config_file: Config = None,
    as_json: Json = False,
    rebuild_index: Annotated[
        bool,
        typer.Option("--rebuild-index", help="Index every stored file that the index lacks."),
    ] = False,
) -> None:
    """Check ports, disk, database, destinations (C-ECHO), executor and GPUs; a line each.

    Exits with 1 when there is a problem. Changes nothing and may run beside a running gateway;
    with --rebuild-index no gateway may run, and the index is made again from the stored files.

    \b
    Examples:
      gateway doctor
      gateway doctor --config /etc/gateway/gateway.yaml --json
    """
    from gateway.cli import show
    from gateway.cli.doctor import examine
    from gateway.cli.errors import FAILURE
    from gateway.cli.rebuilding import rebuild_index as rebuilt

    findings = list(rebuilt(config_file) if rebuild_index else examine(config_file))
    if as_json:
        show.as_json([finding.body() for finding in findings])
    else:
        show.table([finding.body() for finding in findings], ("status", "check", "detail"))
    if any(not finding.ok for finding in findings):
        sys.exit(FAILURE)


def load(config_file: Path | None) -> tuple[GatewaySettings, AeConfig]:
    """Settings and AE configuration; raises ConfigError with every fault of the first bad one."""
    from gateway.config import applications, settings
    from gateway.routing.checks import check_rule

    found = settings.load(config_file)
    return found, applications.load(found.ae_config, check_rule)
