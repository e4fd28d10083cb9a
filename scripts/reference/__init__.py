"""What ``make_reference.py`` writes into the pages of ``docs/reference``."""

from __future__ import annotations
