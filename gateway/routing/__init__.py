"""Routing: the rules of the called AE title choose pipelines, and every decision is explained."""

from __future__ import annotations
