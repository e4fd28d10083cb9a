"""What `gateway demo` shows: a chest CT phantom with known answers, and the show itself."""

from __future__ import annotations
