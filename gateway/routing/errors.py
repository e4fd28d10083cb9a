"""Errors of the routing room."""

from __future__ import annotations

from gateway.errors import Permanent, Transient


class ExpressionError(Permanent):
    """A CEL expression that cannot be accepted: what is wrong and what is allowed."""


class WorkerError(Transient):
    """The evaluating process cannot be started or died while it was asked."""
