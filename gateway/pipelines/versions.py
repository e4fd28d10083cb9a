"""Versions of the language and what came with each.

Clara's own pages tell: 0.2.0 and 0.3.0 meant Argo, 0.4.0 its own orchestrator, 0.5.0 typed data
through shared memory, 0.6.0 models.  What 0.7.0 changed for operators is not published; it is
read as 0.6.0.
"""

from __future__ import annotations

SUPPORTED = ("0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0")
"""Every version that is understood, oldest first."""
TYPED = "0.5.0"
"""First version whose inputs and outputs have types, and whose outputs must have names."""
MODELS = "0.6.0"
"""First version with models."""
MODELS_TOLERATED = "0.4.0"
"""First version whose documents use models all the same; a note says so."""
ARGO = ("0.2.0", "0.3.0")
"""Versions that meant Argo unless they said otherwise."""


def at_least(version: str, first: str) -> bool:
    """True when ``version`` is ``first`` or later; both must be supported."""
    return SUPPORTED.index(version) >= SUPPORTED.index(first)
