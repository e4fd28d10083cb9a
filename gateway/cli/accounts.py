"""``gateway create|list|remove user|token``: who may use the gateway over HTTP.

Works on the database itself, so the first user can be made, and a lost password mended: who may
read the gateway's files on its machine may do so.  A gateway that runs follows at once.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.groups import Group
from gateway.cli.options import Config, Json

if TYPE_CHECKING:
    from gateway.database.engine import Database
    from gateway.web.accounts.accounts import Accounts


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


Name = Annotated[str, typer.Argument(help="Name, in small letters.")]
RoleOption = Annotated[Role, typer.Option("--role", "-r", help="What they may do.")]


def register(creating: Group, listing: Group, deleting: Group) -> None:
    """Add the commands to the groups of their verbs."""
    creating.command("user", connected=False)(create_user)
    creating.command("token", connected=False)(create_token)
    listing.command("users", connected=False)(list_users)
    listing.command("tokens", connected=False)(list_tokens)
    deleting.command("user", connected=False)(remove_user)
    deleting.command("token", connected=False)(remove_token)


def create_user(
    name: Name,
    role: RoleOption = Role.VIEWER,
    stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give a user who exists this role and password.")
    ] = False,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Create a user of the console and of REST; asks for the password.

    With the first user the gateway is open to nobody else any more. Works on this machine's
    gateway, whether it runs or not.

    \b
    Examples:
      gateway create user mei --role administrator
      gateway create user li --role operator --password-stdin
    """
    from gateway.cli import show
    from gateway.web.accounts.roles import Role as Known

    password = _password(stdin)
    wanted = Known(role.value)
    with _accounts(config_file) as accounts:
        known = {user["name"] for user in accounts.list_users()}
        if replace and name.lower() in known:
            record = accounts.change_user(name, role=wanted, password=password, disabled=False)
        else:
            record = accounts.create_user(name, wanted, password)
        _note(accounts, "create user", record["name"], {"role": role.value})
    if as_json:
        show.as_json({"name": record["name"], "role": record["role"]})
    else:
        show.lines([f"{record['name']} may sign in as {record['role']}"])


def list_users(config_file: Config = None, as_json: Json = False) -> None:
    """List users of the console.

    \b
    Example:
      gateway list users
    """
    from gateway.cli import show
    from gateway.web.records import all_shown

    with _accounts(config_file) as accounts:
        found = all_shown(accounts.list_users())
    if as_json:
        show.as_json(found)
    else:
        show.table(found, ("name", "role", "disabled", "created_at", "password_at", "seen_at"))


def remove_user(
    name: Name,
    last: Annotated[
        bool, typer.Option("--last", help="Even if nobody is left who could administrate.")
    ] = False,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Remove a user, whose sessions end.

    Without users a gateway on loopback is open to every program of its machine, and one that
    listens elsewhere answers nobody without a token.

    \b
    Example:
      gateway remove user li
    """
    from gateway.cli.errors import NOT_FOUND, CliError
    from gateway.web.accounts.users import UnknownUser

    with _accounts(config_file) as accounts:
        try:
            accounts.remove_user(name, last=last)
        except UnknownUser as error:
            raise CliError(str(error), NOT_FOUND) from error
        _note(accounts, "remove user", name.lower(), {"last": last})
    _tell(name, as_json)


def create_token(
    name: Name,
    role: RoleOption = Role.VIEWER,
    days: Annotated[
        float | None, typer.Option("--days", min=0.01, max=3660, help="Until it ends.")
    ] = None,
    config_file: Config = None,
    as_json: Json = False,
) -> None:
    """Create a token for scripts and print it, this once.

    Scripts send it as `Authorization: Bearer TOKEN`; this command line takes it from GATEWAY_TOKEN.

    \b
    Examples:
      gateway create token prometheus
      gateway create token nightly --role operator --days 90
    """
    from gateway.cli import show
    from gateway.web.accounts.roles import Role as Known

    with _accounts(config_file) as accounts:
        record, secret = accounts.create_token(name, Known(role.value), days, _me())
        _note(accounts, "create token", record["name"], {"role": role.value})
    if as_json:
        show.as_json({"name": record["name"], "role": record["role"], "token": secret})
    else:
        sys.stdout.write(secret + "\n")


def list_tokens(config_file: Config = None, as_json: Json = False) -> None:
    """List tokens of scripts, without what they are.

    \b
    Example:
      gateway list tokens
    """
    from gateway.cli import show
    from gateway.web.records import all_shown

    with _accounts(config_file) as accounts:
        found = all_shown(accounts.list_tokens())
    if as_json:
        show.as_json(found)
    else:
        show.table(found, ("name", "role", "created_by", "created_at", "expires_at", "used_at"))


def remove_token(name: Name, config_file: Config = None, as_json: Json = False) -> None:
    """Revoke a token.

    \b
    Example:
      gateway remove token nightly
    """
    from gateway.cli.errors import NOT_FOUND, CliError
    from gateway.web.accounts.tokens import UnknownToken

    with _accounts(config_file) as accounts:
        try:
            accounts.remove_token(name)
        except UnknownToken as error:
            raise CliError(str(error), NOT_FOUND) from error
        _note(accounts, "remove token", name.lower(), {})
    _tell(name, as_json)


@contextmanager
def _accounts(config_file: Path | None) -> Iterator[Accounts]:
    """The accounts of the gateway that the settings describe."""
    from gateway.config import settings
    from gateway.web.accounts.accounts import Accounts

    found = settings.load(config_file)
    with _database(found.data_dir, found.database.url) as database:
        yield Accounts(database, found.http)


@contextmanager
def _database(data_dir: Path, url: str | None) -> Iterator[Database]:
    from gateway.database.engine import Database, sqlite_url
    from gateway.payloads.folders import Folders

    folders = Folders(data_dir.resolve())
    if url is None:
        # Made as the gateway itself makes it: readable by its user alone.
        folders.create()
    database = Database(url or sqlite_url(folders.database))
    try:
        database.create()
        yield database
    finally:
        database.close()


def _password(stdin: bool) -> str:
    from gateway.cli.errors import USAGE, CliError

    if not stdin:
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    text = sys.stdin.readline(4096).rstrip("\r\n")
    if not text:
        raise CliError("standard input holds no password", USAGE)
    return text


def _note(accounts: Accounts, action: str, target: str, data: dict[str, Any]) -> None:
    from gateway.web.accounts.roles import Identity, Via

    accounts.note(Identity(_me(), None, Via.CLI), action, target, data)


def _me() -> str:
    """The machine's user who runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name[:64]
    except KeyError:
        return str(os.getuid())


def _tell(name: str, as_json: bool) -> None:
    from gateway.cli import show

    if as_json:
        show.as_json({"name": name.lower()})
    else:
        show.lines([f"{name.lower()} removed"])
