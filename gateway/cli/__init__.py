"""The command line; thin, except for serve, demo and doctor."""

from __future__ import annotations
