"""The pipeline language: definitions parsed strictly, their graph, and the registry of versions."""

from __future__ import annotations
