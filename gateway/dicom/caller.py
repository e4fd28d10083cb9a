"""Who is at the other end of an accepted association."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The identity of an association, as each of its arrivals carries it."""

    association_id: str
    called_ae: str
    calling_ae: str
    host: str
