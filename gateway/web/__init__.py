"""REST, health, metrics and the results service over HTTP."""

from __future__ import annotations
