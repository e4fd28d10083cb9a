"""Times as other programs read them."""

from __future__ import annotations

import datetime as dt


def rfc3339(seconds: float) -> str:
    """Spell seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
