"""``gateway dicom list|create|delete aet|src|dest``: what is configured, changed without an editor.

Works on the files of this machine, whether a gateway runs or not; one that runs follows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import group
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.config.managed import Kind, ManagedFile

app = group("List, create and delete AE titles, sources and destinations.")
listing = group("List what stands in the files of ae_config.")
creating = group("Write an entry into ae_config/managed.yaml.")
deleting = group("Take an entry out of ae_config/managed.yaml.")
for _name, _group in (
    ("list", listing),
    ("create", creating),
    ("delete", deleting),
    ("remove", deleting),
):
    app.add_typer(_group, name=_name, hidden=_name == "remove")

AeTitle = Annotated[str, typer.Option("--ae-title", "-a", help="AE title.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Take the place of such an entry of managed.yaml.")
]
Named = Annotated[str | None, typer.Argument(metavar="NAME", help="Its AE title or name.")]
NameOption = Annotated[
    str | None, typer.Option("--name", "-n", help="The same, as Clara's scripts say.")
]
TitleOption = Annotated[
    str | None, typer.Option("--ae-title", "-a", help="The same, as Clara's scripts say.")
]


@listing.command("aet", connected=False)
def list_aet(config_file: Config = None, as_json: Json = False) -> None:
    """List called AE titles with the file and line each stands in.

    \b
    Example:
      gateway dicom list aet
    """
    columns = "ae_title group_by duplicates late_instances rules otherwise file line"
    _list("applications", columns, config_file, as_json)


@listing.command("src", connected=False)
def list_src(config_file: Config = None, as_json: Json = False) -> None:
    """List peers that may call, with the file and line each stands in.

    \b
    Example:
      gateway dicom list src --json
    """
    _list("sources", "ae_title hosts port file line", config_file, as_json)


@listing.command("dest", connected=False)
def list_dest(config_file: Config = None, as_json: Json = False) -> None:
    """List destinations with the file and line each stands in.

    \b
    Example:
      gateway dicom list dest
    """
    columns = "name ae_title host port folder calling_ae_title tls commitment file line"
    _list("destinations", columns, config_file, as_json)


@creating.command("aet", connected=False)
def create_aet(
    ae_title: AeTitle,
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the entry; see below."),
    ] = None,
    destinations: Annotated[
        list[str] | None,
        typer.Option("--destination", help="Where results of its rules go; may be repeated."),
    ] = None,
    replace: Replace = False,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Create a called AE title.

    KEY is a key of ae_config with dots between levels, such as group-by, duplicates or
    complete-when.quiet-seconds. Clara's keys are taken too: pipeline-<rule>=<pipeline> makes a rule
    that always matches, priority is that of all its rules, timeout is
    complete-when.quiet-seconds.

    \b
    Examples:
      gateway dicom create aet -a LUNG_CT pipeline-density=lung-density --destination PACS
      gateway dicom create aet -a HEAD_MR group-by=series complete-when.quiet-seconds=10
    """
    from gateway.cli.entries import application

    entry = application(ae_title, given or [], destinations or [])
    _create("applications", entry, config_file, replace=replace, as_json=as_json)


@creating.command("src", connected=False)
def create_src(
    ae_title: AeTitle,
    hosts: Annotated[
        list[str],
        typer.Option(
            "--host", "--host-ip", "-i", help="Address, network or host name; may be repeated."
        ),
    ],
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="Port its storage commitment answers go to."),
    ] = None,
    replace: Replace = False,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Create a source: a peer that may call.

    \b
    Examples:
      gateway dicom create src -a CT1 -i 10.1.0.17
      gateway dicom create src -a CT2 -i 10.1.0.0/16 -i ct2.example.org --port 104
    """
    entry: dict[str, Any] = {"ae-title": ae_title, "hosts": hosts}
    if port is not None:
        entry["port"] = port
    _create("sources", entry, config_file, replace=replace, as_json=as_json)


@creating.command("dest", connected=False)
def create_dest(
    name: Annotated[str, typer.Option("--name", "-n", help="Name, as rules use it.")],
    ae_title: Annotated[
        str | None, typer.Option("--ae-title", "-a", help="AE title of the peer.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", "--host-ip", "-i", help="Its host.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Its port.")] = None,
    calling: Annotated[
        str | None, typer.Option("--calling", help="AE title to call it with [default: GATEWAY].")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="A folder instead of a peer.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Call it over TLS.")] = False,
    commitment: Annotated[
        bool, typer.Option("--commitment", help="Ask it for storage commitment.")
    ] = False,
    replace: Replace = False,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Create a destination: a DICOM peer, or a folder, that results go to.

    \b
    Examples:
      gateway dicom create dest -n PACS -a ORTHANC -i 10.1.0.5 -p 4242 --commitment
      gateway dicom create dest -n SHARE --folder /mnt/results
    """
    entry = {
        "name": name,
        "ae-title": ae_title,
        "host": host,
        "port": port,
        "calling-ae-title": calling,
        "folder": None if folder is None else str(folder),
        "tls": tls or None,
        "commitment": commitment or None,
    }
    given = {key: value for key, value in entry.items() if value is not None}
    _create("destinations", given, config_file, replace=replace, as_json=as_json)


@deleting.command("aet", connected=False)
def delete_aet(
    name: Named = None,
    name_option: NameOption = None,
    title_option: TitleOption = None,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Delete a called AE title; what it received stays.

    \b
    Example:
      gateway dicom delete aet -n LUNG_CT
    """
    _delete("applications", (name, name_option, title_option), config_file, as_json)


@deleting.command("src", connected=False)
def delete_src(
    name: Named = None,
    name_option: NameOption = None,
    title_option: TitleOption = None,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Delete a source: the peer may call no longer.

    \b
    Example:
      gateway dicom delete src CT1
    """
    _delete("sources", (name, name_option, title_option), config_file, as_json)


@deleting.command("dest", connected=False)
def delete_dest(
    name: Named = None,
    name_option: NameOption = None,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Delete a destination; refused while a rule names it.

    Results that still wait for it wait until there is one of that name again.

    \b
    Example:
      gateway dicom delete dest -n PACS
    """
    _delete("destinations", (name, name_option), config_file, as_json)


def _managed(config_file: Path | None) -> ManagedFile:
    from gateway.config import settings
    from gateway.config.managed import ManagedFile
    from gateway.routing.checks import check_rule

    return ManagedFile(settings.load(config_file).ae_config, check_rule)


def _list(kind: Kind, columns: str, config_file: Path | None, as_json: bool) -> None:
    from gateway.cli import show
    from gateway.cli.entries import shown

    items = [shown(entry) for entry in _managed(config_file).entries(kind)]
    if as_json:
        show.as_json(items)
    elif items:
        for item in items:
            item["rules"] = [rule["name"] for rule in item.get("rules", [])]
        show.table(items, columns.split())
    else:
        show.notes([f"no {kind}"])


def _create(
    kind: Kind, entry: dict[str, Any], config_file: Path | None, *, replace: bool, as_json: bool
) -> None:
    from gateway.config.managed import KEYS

    file = _managed(config_file).create(kind, entry, replace=replace)
    _tell(str(entry[KEYS[kind]]), "written to", file, as_json)


def _delete(
    kind: Kind, names: tuple[str | None, ...], config_file: Path | None, as_json: bool
) -> None:
    from gateway.cli.errors import NOT_FOUND, CliError
    from gateway.cli.options import one
    from gateway.config.managed import AbsentEntryError

    name = one("name", *names)
    try:
        file = _managed(config_file).delete(kind, name)
    except AbsentEntryError as error:
        raise CliError(str(error), NOT_FOUND) from error
    _tell(name, "taken out of", file, as_json)


def _tell(name: str, done: str, file: Path, as_json: bool) -> None:
    from gateway.cli import show

    if as_json:
        show.as_json({"name": name, "file": str(file)})
    else:
        show.lines([f"{name} {done} {file}; a running gateway follows within seconds"])
