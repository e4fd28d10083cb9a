"""How operators fail, as one tree.

::

    OperatorError               anything an operator says about itself      exit 1
    ├── UsageError              wrong command line or environment           exit 2
    └── InputRefusedError       the input is refused, by name               exit 3

Every error carries `code`, an upper-case name that programs may rely on (`MISSING_SLICES`), and a
sentence for people. Neither may hold patient data: both are logged.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an operator's exit status means."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3


class OperatorError(Exception):
    """An operator could not do its work.

    `code` is a stable upper-case name; `message` a sentence without patient data.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class UsageError(OperatorError):
    """The command line or the environment does not fit the operator."""

    exit_code = ExitCode.USAGE


class InputRefusedError(OperatorError):
    """The input is understood and refused, by name."""

    exit_code = ExitCode.REFUSED
