"""A filter of system calls for warm parents: none may look into another process's memory.

A parent and the programs that make sandboxes for its forks have one user.  Namespaces and missing
``/proc`` keep it from their files; this keeps it from their memory, whoever's code it imported.
"""

from __future__ import annotations

import platform
import struct

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_X32 = 0x40000000

# ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_getfd, process_madvise,
# perf_event_open, userfaultfd
_CALLS = {
    "x86_64": (0xC000003E, (101, 310, 311, 312, 438, 440, 298, 323)),
    "aarch64": (0xC00000B7, (117, 270, 271, 272, 438, 440, 241, 282)),
}


def program(machine: str | None = None) -> bytes | None:
    """The filter as bubblewrap reads it; None for a kind of machine that it is not written for."""
    known = _CALLS.get(machine or platform.machine())
    if known is None:
        return None
    architecture, calls = known
    kill, refuse, allow = (_step(_RETURN, each) for each in (_KILL, _REFUSE, _ALLOW))
    steps = [_step(_LOAD, 4), _step(_EQUAL, architecture, 1, 0), kill, _step(_LOAD, 0)]
    if architecture == _CALLS["x86_64"][0]:
        steps += [_step(_AT_LEAST, _X32, 0, 1), refuse]
    for number in calls:
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    return b"".join([*steps, allow])


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
