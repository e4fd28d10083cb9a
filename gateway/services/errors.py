"""What may go wrong with services."""

from __future__ import annotations

from gateway.errors import Permanent, Transient


class ServiceFault(Permanent):
    """A service that never comes up, or a model that cannot be loaded."""


class ServiceLost(Transient):
    """A service that is not there now."""
