"""Who may use the gateway over HTTP: users, sessions, tokens, and the list of what they did."""

from __future__ import annotations
