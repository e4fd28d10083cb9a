"""The process that makes one volume; see :mod:`gateway.render.making`."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Final

from gateway.operators.sdk import InputRefusedError
from gateway.render.making.grid import Grid
from gateway.render.making.levels import write_levels
from gateway.render.making.order import READY, REFUSED, Order

MEMORY_BYTES: Final = 8 << 30
CPU_SECONDS: Final = 600


def main() -> int:
    """Make the volume of the order on standard input into the working folder."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    order = Order.read(sys.stdin.read())
    try:
        grid = _read(order)
        for number, _ in enumerate(write_levels(grid, order.role, Path())):
            if number == 0:
                _say(READY)
    except InputRefusedError as error:
        _say(REFUSED, error.code, error.message)
        return 3
    except MemoryError:
        _say(REFUSED, "TOO_LARGE", "it needs more memory than a volume may take")
        return 3
    return 0


def _read(order: Order) -> Grid:
    # What reads Segmentations takes a second to load: only where one is read.
    if order.format == "seg":
        from gateway.render.making.segmentation import read_segmentation

        return read_segmentation(order.source, order.most_bytes)
    if order.format == "dicom":
        from gateway.render.making.dicom import read_series

        return read_series(order.source, order.most_bytes)
    from gateway.render.making import files

    read = files.read_nifti if order.format == "nifti" else files.read_metaimage
    grid = read(order.source, order.most_bytes)
    return files.as_labels(grid) if order.role == "label" else grid


def _say(*words: str) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
