"""What can be wrong with a data set."""

from __future__ import annotations

from gateway.errors import Permanent, Refused, Transient


class NoDataset(Refused):
    """There is no such data set or volume, or its files were deleted."""


class Unreadable(Permanent):
    """The files are no volume: the same files will never be one."""


class NotReady(Transient):
    """The volume is being made."""
