"""Results: what operators registered, and the tasks that deliver it."""

from __future__ import annotations
