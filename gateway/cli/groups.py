"""Command groups that forgive the plural and find programs named ``gateway-<x>``."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from gateway.cli.options import HostAgain, UrlAgain

PREFIX = "gateway-"

CLARAS = {
    "aetitle": "aet",
    "aetitles": "aet",
    "source": "src",
    "sources": "src",
    "destination": "dest",
    "destinations": "dest",
}
"""Other words for what commands act on; a command of the very name wins."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Group(typer.Typer):
    """A forgiving group whose commands take ``--host`` and ``--url``, wherever they stand."""

    def command(  # type: ignore[override]
        self, name: str, *, connected: bool = True, **settings: Any
    ) -> Callable[[Command], Command]:
        """Register a command as typer does; ``connected=False`` for one that calls no gateway."""
        register = super().command

        def decorate(function: Command) -> Command:
            register(name, **settings)(_connected(function) if connected else function)
            return function

        return decorate


def group(text: str) -> Group:
    """Make an empty forgiving group; ``text`` is its help.

    Help is plain text: brackets mean what they say, and nothing heavy is imported for it.
    """
    return Group(cls=Forgiving, no_args_is_help=True, help=text, rich_markup_mode=None)


def _connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with the options that say which gateway, laid over ``ctx.obj``."""

    @functools.wraps(function)
    def run(ctx: typer.Context, *, host: str | None, url: str | None, **given: Any) -> Any:
        ctx.obj = ctx.obj.with_options(host, url)
        return function(ctx=ctx, **given)

    # Resolved here: typer resolves names only where it reads the signature itself.
    signature = inspect.signature(function, eval_str=True)
    kinds = {"host": HostAgain, "url": UrlAgain}
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in kinds.items()
    ]
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *more]
    )
    run.__annotations__ = {**function.__annotations__, **kinds}
    return run


class Forgiving(TyperGroup):
    """A group whose commands may be called in the singular or the plural, or by Clara's words."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command by its name, its singular or its plural."""
        spellings = (cmd_name, cmd_name + "s", cmd_name.removesuffix("s"))
        for name in (*spellings, CLARAS.get(cmd_name, cmd_name)):
            found = super().get_command(ctx, name)
            if found is not None:
                return found
        return None


class WithPlugins(TyperGroup):
    """The root: any executable ``gateway-<x>`` on PATH is the command ``<x>``.

    A command of ours wins over a program.  Only the folders that PATH names are looked into: an
    empty entry, which a shell takes for the current folder, counts for nothing.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command of ours, else a program on PATH."""
        found = super().get_command(ctx, cmd_name)
        if found is not None or not cmd_name or os.sep in cmd_name or "\0" in cmd_name:
            return found
        program = _programs().get(cmd_name)
        return None if program is None else Plugin(cmd_name, program)

    def list_commands(self, ctx: Any) -> list[str]:
        """Give our commands, then programs on PATH."""
        ours = list(super().list_commands(ctx))
        return ours + sorted(_programs().keys() - set(ours))


class Plugin(TyperCommand):
    """A program that takes over with all arguments that follow its name."""

    def __init__(self, name: str, program: str) -> None:
        super().__init__(
            name,
            help=f"Run the program {PREFIX}{name}.",
            context_settings={
                "ignore_unknown_options": True,
                "allow_extra_args": True,
                "allow_interspersed_args": False,
            },
            add_help_option=False,
        )
        self._program = program

    def invoke(self, ctx: Any) -> NoReturn:
        """Become the program."""
        os.execv(self._program, [self._program, *ctx.args])  # noqa: S606 - no shell wanted


def _programs() -> dict[str, str]:
    """Each command that is a program, and its path; the first one on PATH, as a shell has it."""
    found: dict[str, str] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if not folder:
            continue
        try:
            paths = sorted(Path(folder).glob(PREFIX + "*"))
        except OSError:
            continue
        for path in paths:
            if path.is_file() and os.access(path, os.X_OK):
                found.setdefault(path.name.removeprefix(PREFIX), str(path))
    found.pop("", None)
    return found
