"""The ``gateway`` command.

Nothing heavy is imported before a command needs it, so ``gateway --help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gateway.cli import (
    accounts,
    acting,
    compiling,
    completing,
    configuring,
    creating,
    describing,
    dicom,
    listing,
    load,
    logs,
    managing,
    moving,
    platform,
    querying,
    scheduling,
    serving,
    starting,
)
from gateway.cli.address import Given
from gateway.cli.errors import FAILURE, USAGE, CliError
from gateway.cli.groups import WithPlugins
from gateway.cli.options import Host, Url
from gateway.errors import GatewayError

_HELP = """Receive studies from modalities, run pipelines on them, deliver results to the PACS.

Try `gateway demo`. Where is my study? `gateway list payloads --study UID` tells.

\b
Exit codes:
  0  done
  1  refused, or a check failed
  2  wrong usage, or a bad configuration
  3  not found
  4  the gateway cannot be reached

Any program named gateway-<x> on PATH is the command <x>.
"""

app = typer.Typer(
    name="gateway",
    cls=WithPlugins,
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def root(
    ctx: typer.Context,
    host: Host = None,
    url: Url = None,
) -> None:
    """Keep what every command needs."""
    ctx.obj = Given(host, url)


@app.command("version")
def version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the version.

    \b
    Examples:
      gateway version
      gateway version --json
    """
    from gateway.cli.show import as_json as print_json
    from gateway.cli.version import installed

    if as_json:
        print_json({"version": installed()})
    else:
        sys.stdout.write(installed() + "\n")


for _register in (
    serving.register,
    dicom.register,
    querying.register,
    configuring.register,
    compiling.register,
    completing.register,
):
    _register(app)
accounts.register(creating.app, listing.app, acting.delete)
for _name, _group in (
    ("dicom", managing.app),
    ("create", creating.app),
    ("list", listing.app),
    ("describe", describing.app),
    ("upload", moving.upload),
    ("download", moving.download),
    ("start", starting.app),
    ("stop", platform.stop),
    ("status", platform.status),
    ("logs", logs.app),
    ("cancel", acting.cancel),
    ("rerun", acting.rerun),
    ("prioritise", scheduling.prioritise),
    ("pause", scheduling.pause),
    ("drain", scheduling.drain),
    ("resume", scheduling.resume),
    ("load", load.app),
    ("retry", acting.retry),
    ("release", acting.release),
    ("reroute", acting.reroute),
    ("delete", acting.delete),
    ("remove", acting.delete),
):
    app.add_typer(_group, name=_name, hidden=_name == "remove")


def main() -> None:
    """Run the command line; the process ends with one of the documented exit codes."""
    try:
        app(prog_name="gateway")
    except CliError as error:
        _end(str(error), error.code)
    except GatewayError as error:
        from gateway.config.document import ConfigError

        _end(str(error), USAGE if isinstance(error, ConfigError) else FAILURE)
    except BrokenPipeError:
        # The reader (head, say) has seen enough; Python must not complain while it closes.
        sys.stderr.close()
        sys.exit(FAILURE)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _end(message: str, code: int) -> None:
    from gateway.cli.show import clean

    sys.stderr.write(clean(message).rstrip() + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
