"""How fast instances come in, beside DCMTK, Orthanc and pynetdicom in the same run.

The same sender sends the same new CT slices to each receiver in turn, round after round; medians
are compared.  Receivers run at once, but only one is sent to at a time, and a gateway must have
everything in its index before the next begins; how late that is stands beside.  What was sent
is kept until the end: a file system that just deleted makes new files slowly, whoever asks.
Also: peak memory while a 3 GB object and 32 associations arrive at once, and the time from the
last C-STORE of a study to its job's start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from ingest_extras import disk_limits, latency, memory
from ingest_peers import RECEIVERS, Receiver, all_receivers
from raw_sender import RawSender
from slices import make_slices

SIZES = {"524 kB": (512, 512), "40 kB": (140, 142)}
"""Rows and columns."""
CASES = [("524 kB", 1, 200), ("40 kB", 1, 500), ("40 kB", 4, 800), ("40 kB", 16, 800)]
"""Size, associations, and how many instances a round sends in all."""
Case = tuple[str, int, int]
RESULTS = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- bench-ingest -->", "<!-- /bench-ingest -->"


def rate(port: int, paths: list[Path], associations: int) -> float:
    """Instances per second in all over ``associations`` at once, each a process of its own.

    The clock runs from the first C-STORE to the last release: associations are open before.
    """
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(associations + 1)

    def work(mine: list[Path]) -> None:
        sender = RawSender(port, mine)
        gate.wait()
        sender.send()

    senders = [
        context.Process(target=work, args=(paths[n::associations],)) for n in range(associations)
    ]
    for sender in senders:
        sender.start()
    gate.wait()
    began = time.perf_counter()
    for sender in senders:
        sender.join()
        assert sender.exitcode == 0
    return len(paths) / (time.perf_counter() - began)


class Comparison:
    """Rates of every receiver in every case."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        self.cases = [(size, n, max(2 * n, int(count * scale))) for size, n, count in CASES]
        self.rates: dict[Case, dict[str, list[float]]] = {
            case: {name: [] for name in RECEIVERS} for case in self.cases
        }
        self.behind: dict[Case, dict[str, list[float]]] = {
            case: {name: [] for name in RECEIVERS} for case in self.cases
        }
        self._study = 0
        self._sent: dict[str, int] = dict.fromkeys(RECEIVERS, 0)

    def round(self, receivers: dict[str, Receiver], *, keep: bool) -> None:
        """Send every case to every receiver once; ``keep`` False = warming up."""
        for case in self.cases:
            size, associations, count = case
            self._study += 1
            made = self.folder / f"slices-{self._study}"
            paths = make_slices(made, *SIZES[size], count, self._study)
            for name in RECEIVERS:
                os.sync()
                found = rate(receivers[name].port, paths, associations)
                self._sent[name] += count
                behind = receivers[name].settle(self._sent[name])
                if keep:
                    self.rates[case][name].append(found)
                    self.behind[case][name].append(behind)

    def table(self) -> list[str]:
        """Markdown: a row per case and receiver."""
        lines = [
            "| slices | assoc. | receiver | rate/s | x DCMTK | x Orthanc | x pynetdicom | late |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for case, rates in self.rates.items():
            size, associations, _ = case
            medians = {name: statistics.median(found) for name, found in rates.items()}
            for name, found in medians.items():
                ratios = " | ".join(
                    f"{found / medians[peer]:.2f}" for peer in ("DCMTK", "Orthanc", "pynetdicom")
                )
                late = 1000 * statistics.median(self.behind[case][name])
                behind = f"{late:.0f} ms" if name.startswith("gateway") else ""
                lines.append(
                    f"| {size} | {associations} | {name} | {found:.0f} | {ratios} | {behind} |"
                )
        return lines


def machine() -> str:
    """The machine in words."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{len(os.sched_getaffinity(0))} cores ({model}), Linux {platform.release()}"


def report(options: argparse.Namespace, folder: Path) -> list[str]:
    """Measure everything; returns lines of markdown."""
    comparison = Comparison(folder, options.scale)
    with all_receivers(folder) as receivers:
        comparison.round(receivers, keep=False)
        for _ in range(options.rounds):
            comparison.round(receivers, keep=True)
    lines = [f"{machine()}; medians of {options.rounds} alternating rounds, index on.", ""]
    lines += [*comparison.table(), ""]
    print("\n".join(lines), flush=True)
    for size, (rows, columns) in SIZES.items():
        limits = disk_limits(folder, rows * columns * 2)
        words = ", ".join(f"{name} {found:.0f}/s" for name, found in limits.items())
        lines.append(f"- The disk alone, one flush per {size}: {words}.")
    peak, receivers_alone = memory(folder, 3 * options.scale)
    lines.append(
        f"- Peak memory (PSS) while a {3 * options.scale:g} GB object and 32 associations arrive:"
        f" {peak:.0f} MB for the whole gateway, {receivers_alone:.0f} MB of it in its receivers."
    )
    found = latency(folder, options.rounds, max(10, int(500 * options.scale)))
    lines.append(
        f"- From the last C-STORE of a {max(10, int(500 * options.scale))}-slice study"
        f" (524 kB, count known) to the job's start: median {statistics.median(found):.0f} ms,"
        f" worst {max(found):.0f} ms."
    )
    return lines


def write(lines: list[str], path: Path) -> None:
    """Put the results between their marks in ``path``, or at its end."""
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    section = "\n".join([_BEGIN, *lines, _END])
    if _BEGIN in text:
        before, _, rest = text.partition(_BEGIN)
        text = before + section + rest.partition(_END)[2]
    else:
        text = f"{text.rstrip()}\n\n## Receiving (`make bench-ingest`)\n\n{section}\n"
    path.write_text(text)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of sizes and counts")
    parser.add_argument("--write", action="store_true", help=f"keep the results in {RESULTS.name}")
    parser.add_argument("--folder", type=Path, help="where everything is kept meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=options.folder) as name:
        lines = report(options, Path(name))
    print("\n".join(lines[lines.index("", 2) :]))
    if options.write:
        write(lines, RESULTS)


if __name__ == "__main__":
    main()
