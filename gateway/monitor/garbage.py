"""The collector of reference cycles, told what it need not look at."""

from __future__ import annotations

import gc

ALLOCATIONS = 2_000
"""Container objects made before the youngest are looked through; Python's own default is 700.

What a busy process makes per instance has no cycles and goes by reference counts alone: looking for
some took a tenth of the time of the process that writes the index.
"""


def settle() -> None:
    """Call once when everything that lives as long as the process is made; any thread."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 10, 10)
