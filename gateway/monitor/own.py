"""The gateway's own processes: those that have its roles, and what they started for themselves.

Used by one thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.monitor import proc

ALL = "all"
"""The role of a process that has more than one."""
_HELPERS: Mapping[bytes, str] = {
    b"gateway.dicom.receiver": "receiver",
    b"gateway.routing.worker": "rules",
}
"""Programs that a gateway process starts for itself, by their modules."""


@dataclass(frozen=True)
class RoleUsage:
    """What the processes of one role use."""

    processes: int
    threads: int
    resident: int
    """Bytes in memory."""
    cpu_seconds: float
    """Of those that run and of those that ended since the gateway looks."""


class OwnProcesses:
    """Follows them; looks are the caller's to time."""

    def __init__(self, data_dir: Path, roles: Collection[str]) -> None:
        """``roles`` are those there can be: each has a lock file in ``data_dir``."""
        self._data_dir = data_dir
        self._roles = tuple(roles)
        self._parents: dict[int, int] = {}
        self._seconds: dict[int, tuple[str, float]] = {}
        self._ended: dict[str, float] = {}
        self._usages: dict[str, RoleUsage] = {}

    def look(self, pids: Collection[int]) -> None:
        """Take in what each uses; ``pids`` are all processes of this machine."""
        found = self._find(set(pids))
        for pid in self._seconds.keys() - found.keys():
            role, seconds = self._seconds.pop(pid)
            self._ended[role] = self._ended.get(role, 0.0) + seconds
        for pid, role in found.items():
            _, before = self._seconds.get(pid, (role, 0.0))
            self._seconds[pid] = (role, max(before, proc.cpu_seconds(pid)))
        self._usages = {role: self._sum(role, found) for role in {*found.values(), *self._ended}}

    def usages(self) -> dict[str, RoleUsage]:
        """What each role uses, as of the last look."""
        return self._usages

    def role_of(self, pid: int) -> str | None:
        """The role of a process of ours; None for any other."""
        found = self._seconds.get(pid)
        return None if found is None else found[0]

    def _find(self, pids: set[int]) -> dict[int, str]:
        """Every process of ours with its role."""
        for pid in self._parents.keys() - pids:
            del self._parents[pid]
        for pid in pids - self._parents.keys():
            self._parents[pid] = proc.parent(pid)
        found = self._holders()
        for pid, above in self._parents.items():
            if above in found and pid not in found:
                helper = _helper(pid)
                if helper is not None:
                    found[pid] = helper
        return found

    def _holders(self) -> dict[int, str]:
        """The processes that hold the locks of the roles, as the kernel tells."""
        locks = proc.lock_holders()
        roles: dict[int, list[str]] = {}
        for role in self._roles:
            path = self._data_dir / f"{role}.lock"
            try:
                holder = int(path.read_bytes()), path.stat().st_ino
            except (OSError, ValueError):
                continue
            # A file alone may name a process that is long dead, its number another's by now.
            if holder in locks:
                roles.setdefault(holder[0], []).append(role)
        return {pid: names[0] if len(names) == 1 else ALL for pid, names in roles.items()}

    def _sum(self, role: str, found: Mapping[int, str]) -> RoleUsage:
        mine = [pid for pid, of in found.items() if of == role]
        return RoleUsage(
            processes=len(mine),
            threads=sum(map(proc.threads, mine)),
            resident=sum(map(proc.resident, mine)),
            cpu_seconds=self._ended.get(role, 0.0) + sum(self._seconds[pid][1] for pid in mine),
        )


def _helper(pid: int) -> str | None:
    words = proc.arguments(pid)
    return next((_HELPERS[word] for word in words if word in _HELPERS), None)
