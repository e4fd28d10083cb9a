"""NVIDIA devices of this machine, shared out among the operators of a job."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.executors.sandbox import Bind

_COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


@dataclass(frozen=True)
class Gpu:
    """What one device is called, whichever others a sandbox shows."""

    minor: int
    """Its file is ``/dev/nvidia<minor>``."""
    uuid: str


class Devices:
    """The devices that one job has; an operator takes what it asks for and gives it back."""

    def __init__(self, indices: tuple[int, ...]) -> None:
        self._free = list(indices)
        self._lock = threading.Lock()

    def take(self, count: int) -> tuple[int, ...]:
        """Up to ``count`` devices: fewer only when the job was given fewer (it then runs on CPU).

        A job has as many as its operators need at once, so nobody waits here.
        """
        with self._lock:
            taken, self._free = self._free[:count], self._free[count:]
        return tuple(taken)

    def give_back(self, indices: tuple[int, ...]) -> None:
        """Return what :meth:`take` gave."""
        with self._lock:
            self._free += indices


def names(indices: tuple[int, ...], known: Mapping[int, Gpu]) -> tuple[str, ...]:
    """What CUDA knows the devices by: UUIDs, for it counts only those that a sandbox shows."""
    return tuple(known[index].uuid if index in known else str(index) for index in indices)


def binds(indices: tuple[int, ...], known: Mapping[int, Gpu]) -> list[Bind]:
    """Device files for ``indices``, those that are there; no index = no device file at all."""
    if not indices:
        return []
    numbers = (known[index].minor if index in known else index for index in indices)
    paths = [Path("/dev", name) for name in (*_COMMON, *(f"nvidia{n}" for n in numbers))]
    return [Bind(p, str(p), writable=True, device=True) for p in paths if p.exists()]
