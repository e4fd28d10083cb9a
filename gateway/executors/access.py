"""Who reads and writes what: an operator is nobody's root, and its files stay the gateway's to
delete.

A gateway that runs as an ordinary user runs operators as that user.  One that runs as root runs
them as user 1000, who owns the outputs and reads the inputs through the group of their files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

OPERATOR_ID = 1000
"""User and group of operators under a gateway that runs as root."""


@dataclass(frozen=True)
class User:
    """Who the operator is, by number; never root."""

    uid: int
    gid: int
    group: int | None = None
    """A further group, that of the gateway's files where they are not the operator's own."""


def user() -> User:
    """The user of operators of this gateway."""
    uid = os.geteuid()
    if uid == 0:
        return User(OPERATOR_ID, OPERATOR_ID, os.getegid())
    return User(uid, os.getegid())


def give(folder: Path, owner: User) -> None:
    """Make ``owner`` the owner of an empty folder that the gateway made."""
    if os.geteuid() == 0:
        os.chown(folder, owner.uid, owner.gid)
        folder.chmod(0o750)


def open_to_group(folder: Path) -> None:
    """Let the group read a folder that only the gateway writes, with all below it.

    The folders around it stay closed, so nobody new of this machine reads it by this.
    """
    if os.geteuid() != 0:
        return
    for base, _, files in os.walk(folder):
        _add(Path(base), 0o050)
        for name in files:
            _add(Path(base, name), 0o040)


def _add(path: Path, bits: int) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode) and mode & bits != bits:
        path.chmod(stat.S_IMODE(mode) | bits)
