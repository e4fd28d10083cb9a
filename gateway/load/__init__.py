"""The load generator: jobs through the platform API, studies through C-STORE."""

from __future__ import annotations
