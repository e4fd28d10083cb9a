"""Payloads: the spool, grouping, completion, revisions, quarantine and retention."""

from __future__ import annotations
