"""Engines that run jobs; the embedded default runs operators as sandboxed processes."""

from __future__ import annotations
