"""Delivery: agents that empty the results, with retry, circuits and per-instance status."""

from __future__ import annotations
