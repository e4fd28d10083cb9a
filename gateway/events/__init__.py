"""What happened: events recorded beside the state they tell of, and the calls that wake workers."""

from __future__ import annotations
