"""The gateway between a hospital's scanners, its imaging AI and its PACS."""

from __future__ import annotations

__version__ = "0.1.0"
