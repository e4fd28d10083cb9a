"""The demonstration: a phantom's CT study goes in, SEG, SR and SC arrive in a PACS."""

from __future__ import annotations
