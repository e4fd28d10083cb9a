"""Command groups that forgive the plural and find programs named ``gateway-<x>``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

PREFIX = "gateway-"


def group(text: str) -> typer.Typer:
    """Make an empty forgiving group; ``text`` is its help.

    Help is plain text: brackets mean what they say, and nothing heavy is imported for it.
    """
    return typer.Typer(cls=Forgiving, no_args_is_help=True, help=text, rich_markup_mode=None)


class Forgiving(TyperGroup):
    """A group whose commands may be called in the singular or the plural."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command by its name, its singular or its plural."""
        for name in (cmd_name, cmd_name + "s", cmd_name.removesuffix("s")):
            found = super().get_command(ctx, name)
            if found is not None:
                return found
        return None


class WithPlugins(TyperGroup):
    """The root: any executable ``gateway-<x>`` on PATH is the command ``<x>``."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command of ours, else a program on PATH."""
        found = super().get_command(ctx, cmd_name)
        if found is not None or not cmd_name or os.sep in cmd_name:
            return found
        program = shutil.which(PREFIX + cmd_name)
        return None if program is None else Plugin(cmd_name, program)

    def list_commands(self, ctx: Any) -> list[str]:
        """Give our commands, then programs on PATH."""
        ours = list(super().list_commands(ctx))
        return ours + sorted(_on_path() - set(ours))


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


def _on_path() -> set[str]:
    names = set()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if not folder or not Path(folder).is_dir():
            continue
        try:
            found = [p for p in Path(folder).glob(PREFIX + "*") if os.access(p, os.X_OK)]
        except OSError:
            continue
        names |= {path.name.removeprefix(PREFIX) for path in found}
    return names
