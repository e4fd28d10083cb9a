"""Errors of the platform API and the numbers they travel as.

An error is answered inside the response header with gRPC status OK, as Clara's clients expect:
``code`` is negative, ``messages`` say what was wrong.  Within a stream that has begun it is a gRPC
status instead: clients look at the first header only, and a download must not end short unseen.
"""

from __future__ import annotations

from enum import IntEnum

from gateway.config.document import ConfigError
from gateway.errors import GatewayError, Refused, Transient
from gateway.jobs.transitions import UnknownJob

MOST_MESSAGES = 50
"""Most messages one header carries."""
LONGEST_MESSAGE = 2000
"""Longest message, in characters."""


class Code(IntEnum):
    """Every code a response header carries; negative = error."""

    OK = 0
    """It was done."""
    INTERNAL = -1
    """The gateway is at fault; its log says more."""
    INVALID = -2
    """The request itself is wrong: an identifier, name, definition or value."""
    NOT_FOUND = -3
    """What the request names is not there."""
    EXISTS = -4
    """A name, key or identifier is taken, or fits several things."""
    REFUSED = -5
    """The present state does not allow it, or the machine can never do it."""
    LIMIT = -6
    """A limit of size or number is passed."""
    UNAVAILABLE = -7
    """It may go right later: the disk is full, the database is busy."""


class PlatformError(Refused):
    """A request that is answered with ``code`` and this message."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> PlatformError:
    """The request is wrong in itself."""
    return PlatformError(Code.INVALID, message)


def not_found(message: str) -> PlatformError:
    """What it names is not there."""
    return PlatformError(Code.NOT_FOUND, message)


def limit(message: str) -> PlatformError:
    """A limit is passed."""
    return PlatformError(Code.LIMIT, message)


def code_of(error: GatewayError) -> Code:
    """The code that ``error`` travels as."""
    if isinstance(error, PlatformError):
        return error.code
    if isinstance(error, UnknownJob):
        return Code.NOT_FOUND
    if isinstance(error, ConfigError):
        return Code.INVALID
    if isinstance(error, Transient):
        return Code.UNAVAILABLE
    return Code.REFUSED


def messages_of(error: GatewayError) -> list[str]:
    """What a person reads of ``error``: one message per fault, within bounds."""
    if isinstance(error, ConfigError):
        texts = [str(fault) for fault in error.faults]
    else:
        texts = [str(error)]
    return [text[:LONGEST_MESSAGE] for text in texts[:MOST_MESSAGES]]
