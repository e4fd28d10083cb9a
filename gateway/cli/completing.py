"""``gateway completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("completion")(completion)


def completion(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="For which shell.")]
) -> None:
    """Print the script that lets a shell complete commands, options and programs on PATH.

    \b
    Examples:
      gateway completion bash > ~/.local/share/bash-completion/completions/gateway
      gateway completion zsh > ~/.zfunc/_gateway
      gateway completion fish > ~/.config/fish/completions/gateway.fish
    """
    from typer.completion import shell_complete

    root = ctx.find_root().command
    sys.exit(shell_complete(root, {}, "gateway", "_GATEWAY_COMPLETE", f"source_{shell}"))
