"""How fast instances go out over one association, beside DCMTK in the same run.

The gateway's SCU (as delivery and ``gateway send`` use it, in this warm process), DCMTK's
``storescu`` and ``dcmsend`` send the same CT slices to the same receiver in turn, round after
round; the medians are compared with the better of DCMTK's two.  The receiver is ``storescp``
that drops what it gets, so that its disk measures nothing.  Processor time per instance stands
beside: on a busy machine it says more than the rate.

The last comparison is against a receiver as DCMTK ships it, with Nagle's algorithm on.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.dicom.files import find
from gateway.dicom.peer import Peer
from gateway.dicom.scu import StoreScu, echo
from gateway.errors import Transient

# A script's own folder is on the path: both benchmarks send the same slices.
from slices import make_slices  # isort: skip

SIZES = {"524 kB": (512, 512, 400), "40 kB": (140, 142, 2000)}
"""Rows, columns and how many instances a round sends."""

AS_SHIPPED = 100
"""How many of the small ones go to the receiver with Nagle's algorithm."""

_NAGLE = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"}
_ENVIRONMENT = {**_NAGLE, "TCP_NODELAY": "1"}
_PDU = "131072"


@contextmanager
def receiver(folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """``storescp`` that ignores the data sets; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["storescp", "-aet", "BENCH", "-od", str(folder), "-pdu", _PDU, "--ignore"]
    process = subprocess.Popen([*command, str(port)], env=environment)
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            echo(Peer("BENCH", "127.0.0.1", port, "SENDER"))
        except Transient:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the receiver does not answer C-ECHO")


def by_gateway(port: int, folder: Path) -> None:
    """Send with our SCU."""
    paths = find([folder])
    for sent in StoreScu(Peer("BENCH", "127.0.0.1", port, "SENDER")).send(paths):
        assert sent.stored, sent


def by_storescu(port: int, folder: Path) -> None:
    """Send with ``storescu``."""
    _run("storescu", "-aec", "BENCH", "-pdu", _PDU, "+sd", "127.0.0.1", str(port), str(folder))


def by_dcmsend(port: int, folder: Path) -> None:
    """Send with ``dcmsend``."""
    pdu = ["--max-send-pdu", _PDU]
    _run("dcmsend", "-aec", "BENCH", *pdu, "+sd", "127.0.0.1", str(port), str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, env=_ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, timeout=300)


SENDERS: dict[str, Callable[[int, Path], None]] = {
    "gateway": by_gateway,
    "storescu": by_storescu,
    "dcmsend": by_dcmsend,
}


@dataclass(frozen=True)
class Pace:
    """Medians of one sender."""

    rate: float
    """Instances per second."""
    processor: float
    """User and system time per instance, in microseconds."""


def compare(
    folder: Path, count: int, rounds: int, environment: dict[str, str] = _ENVIRONMENT
) -> dict[str, Pace]:
    """Alternate over the senders; ``environment`` is the receiver's."""
    seconds: dict[str, list[float]] = {name: [] for name in SENDERS}
    processor: dict[str, list[float]] = {name: [] for name in SENDERS}
    with receiver(folder.parent, environment) as port:
        for sender in SENDERS.values():
            sender(port, folder)
        for number in range(rounds):
            # Every second round the other way round: what one leaves warm helps each as often.
            names = list(SENDERS) if number % 2 == 0 else list(reversed(SENDERS))
            for name in names:
                used, began = _processor(), time.perf_counter()
                SENDERS[name](port, folder)
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(_processor() - used)
    median = statistics.median
    return {
        name: Pace(count / median(seconds[name]), median(processor[name]) / count * 1e6)
        for name in SENDERS
    }


def _processor() -> float:
    """Processor time of this process and of the children that ended, in seconds."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _show(title: str, rounds: int, paces: dict[str, Pace]) -> float:
    """Print one comparison; returns our rate over the better one of DCMTK's."""
    best = max(pace.rate for sender, pace in paces.items() if sender != "gateway")
    print(f"{title}, one association, median of {rounds} rounds")
    for sender, pace in paces.items():
        print(
            f"  {sender:10} {pace.rate:7.0f} instances/s   {pace.rate / best:6.2f} x DCMTK's better"
            f"   {pace.processor:5.0f} us of processor an instance"
        )
    return paces["gateway"].rate / best


def main() -> None:
    """Run the comparison; exits 1 when a target is missed and ``--enforce`` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of instances")
    parser.add_argument("--folder", type=Path, help="where the slices are made")
    parser.add_argument("--enforce", action="store_true", help="fail below 1.0 x DCMTK")
    options = parser.parse_args()
    if shutil.which("dcmsend") is None:
        sys.exit("DCMTK is not installed")
    missed = False
    with tempfile.TemporaryDirectory(prefix="bench-send-", dir=options.folder) as name:
        for size, (rows, columns, count) in SIZES.items():
            folder = Path(name, size.replace(" ", ""))
            few = max(10, int(count * options.scale))
            make_slices(folder, rows, columns, few)
            paces = compare(folder, few, options.rounds)
            missed |= _show(f"{size} CT slices", options.rounds, paces) < 1.0
            shutil.rmtree(folder)
        folder = Path(name, "as-shipped")
        make_slices(folder, *SIZES["40 kB"][:2], AS_SHIPPED)
        paces = compare(folder, AS_SHIPPED, 3, _NAGLE)
        missed |= _show("40 kB CT slices, receiver with Nagle's algorithm", 3, paces) < 1.0
    if missed and options.enforce:
        sys.exit(1)


if __name__ == "__main__":
    main()
