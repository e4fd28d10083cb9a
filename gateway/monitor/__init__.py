"""Prometheus metrics read from the records, and what the machine has."""

from __future__ import annotations
