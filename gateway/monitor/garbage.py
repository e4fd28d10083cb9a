"""The collector of reference cycles, told what it need not look at."""

from __future__ import annotations

import gc


def settle() -> None:
    """Call once when everything that lives as long as the process is made; any thread.

    Looking through all of it again and again took a tenth of the time of the process that writes
    the index.  How often the rest is looked through stays as it is: cycles may hold large buffers.
    """
    gc.collect()
    gc.freeze()
