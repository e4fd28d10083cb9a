"""Volumes and overlays of results, made for the browser: data sets, their cache, key images."""

from __future__ import annotations
