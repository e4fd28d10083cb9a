"""How fast instances go out over one association, beside DCMTK in the same run.

The gateway's SCU (as delivery and ``gateway send`` use it, in this warm process), DCMTK's
``storescu`` and ``dcmsend`` send the same CT slices to the same receiver in turn, round after
round; the medians are compared with the better of DCMTK's two.  The receiver is ``storescp``
that drops what it gets, so that its disk measures nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.dicom.files import find
from gateway.dicom.peer import Peer
from gateway.dicom.scu import StoreScu, echo
from gateway.errors import Transient

# A script's own folder is on the path: both benchmarks send the same slices.
from slices import make_slices  # isort: skip

SIZES = {"524 kB": (512, 512, 400), "40 kB": (140, 142, 2000)}
"""Rows, columns and how many instances a round sends."""

_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_PDU = "131072"


@contextmanager
def receiver(folder: Path) -> Iterator[int]:
    """``storescp`` that ignores the data sets; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["storescp", "-aet", "BENCH", "-od", str(folder), "-pdu", _PDU, "--ignore"]
    process = subprocess.Popen([*command, str(port)], env=_ENVIRONMENT)
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


def compare(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Alternate over the senders; returns the median rate of each, in instances per second."""
    rates: dict[str, list[float]] = {name: [] for name in SENDERS}
    with receiver(folder.parent) as port:
        for sender in SENDERS.values():
            sender(port, folder)
        for number in range(rounds):
            # Every second round the other way round: what one leaves warm helps each as often.
            names = list(SENDERS) if number % 2 == 0 else list(reversed(SENDERS))
            for name in names:
                began = time.perf_counter()
                SENDERS[name](port, folder)
                rates[name].append(count / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in rates.items()}


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
            medians = compare(folder, few, options.rounds)
            best = max(rate for sender, rate in medians.items() if sender != "gateway")
            print(f"{size} CT slices, one association, median of {options.rounds} rounds")
            for sender, rate in medians.items():
                print(
                    f"  {sender:10} {rate:7.0f} instances/s   {rate / best:5.2f} x DCMTK's better"
                )
            missed |= medians["gateway"] < best
            shutil.rmtree(folder)
    if missed and options.enforce:
        sys.exit(1)


if __name__ == "__main__":
    main()
