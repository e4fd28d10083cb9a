"""How the command line ends when something is wrong.

Exit codes::

    0  done
    1  the gateway refused, or a check failed
    2  wrong usage, or a bad configuration
    3  what was asked for is not there
    4  the gateway cannot be reached
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import GatewayError

DONE = 0
FAILURE = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4


class CliError(GatewayError):
    """A sentence for the person at the terminal and the exit code that goes with it."""

    def __init__(self, message: str, code: int = FAILURE) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def second_place(first: CliError) -> Iterator[None]:
    """Look in a second place after ``first``, which was not found; tell both if it is closed."""
    try:
        yield
    except CliError as error:
        if error.code != UNREACHABLE:
            raise
        raise CliError(f"{first}\n{error}", UNREACHABLE) from error
