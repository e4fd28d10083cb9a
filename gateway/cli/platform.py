"""``gateway start|stop|status platform``: the gateway of a single machine, in the background."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.groups import group
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.cli.running import Platform

stop = group("Stop the gateway itself.")
status = group("Say whether the gateway itself runs.")


def start_platform(
    config_file: Config = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Longest wait until it is ready, in seconds.")
    ] = 120,
    as_json: Json = False,
) -> None:
    """Start the gateway in the background; done when it is ready to receive.

    Its log is platform.log in data-dir. Nothing starts it again after a crash or a reboot: where
    that is wanted, let systemd run `gateway serve`. Exit 1 when one runs already on this data-dir,
    2 for bad settings.

    \b
    Examples:
      gateway start platform --config /etc/gateway/gateway.yaml
      gateway status platform
    """
    from gateway.cli import show

    platform = _platform(config_file)
    pid = platform.start(timeout)
    if as_json:
        show.as_json(platform.status())
    else:
        show.lines([f"ready: process {pid}, log {platform.log}"])


@stop.command("platform", connected=False)
def stop_platform(
    config_file: Config = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Longest wait for its end, in seconds.")
    ] = 120,
    as_json: Json = False,
) -> None:
    """Stop the gateway of this data-dir; done when it is gone.

    What was acknowledged is on disk, and the next start goes on with it. Exit 0 also when none
    runs. A gateway that systemd keeps running comes back: stop that with systemctl.

    \b
    Example:
      gateway stop platform --config /etc/gateway/gateway.yaml
    """
    from gateway.cli import show

    pids = _platform(config_file).stop(timeout)
    if as_json:
        show.as_json({"stopped": pids})
    else:
        who = ", ".join(map(str, pids))
        show.lines([f"stopped: process {who}" if pids else "no gateway runs"])


@status.command("platform", connected=False)
def status_platform(config_file: Config = None, as_json: Json = False) -> None:
    """Say whether the gateway of this data-dir runs and is ready.

    Exit 0 when it is ready, 1 when it runs and is not ready, 3 when it does not run.

    \b
    Example:
      gateway status platform --json
    """
    from gateway.cli import show
    from gateway.cli.errors import DONE, FAILURE, NOT_FOUND

    found = _platform(config_file).status()
    if as_json:
        show.as_json(found)
    else:
        show.fields(found, list(found))
    sys.exit({"READY": DONE, "STOPPED": NOT_FOUND}.get(found["state"], FAILURE))


def _platform(config_file: Path | None) -> Platform:
    from gateway.cli.running import Platform
    from gateway.config import settings

    found = settings.load(config_file)
    default = Path("gateway.yaml")
    if config_file is None and default.exists():
        config_file = default
    return Platform(found, config_file)
