"""Time 1 GiB of float32 on its way from one operator to the next, beside np.save and np.load.

Both ways run as real jobs of the process executor, in the same run, in alternating rounds; medians
count.  The peer writes its array with `np.save` into its output on the payload's disk and the next
operator reads it with `np.load`; ours fills an array of the SDK in place and the next operator
takes it.  Handing on is what lies between an array that is filled and one that can be read: making
it visible, the gateway's check, and opening it.  Filling and reading all of it are timed apart, for
mapped pages must cost no more than others there.  Exit 1 below a ratio of 10.

A third way, `write_array`, copies an array that was made elsewhere; it is shown for comparison.

Usage: python benchmarks/bench_typed.py [--rounds N] [--mib N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.settings import ImageSettings
from gateway.executors import shared
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import End, JobRun, OperatorEnd
from gateway.pipelines.parse import parse

RATIO = 10
_HEAD = """
import json, time
import numpy as np
from gateway.operators.sdk import run
N = {cells}
def took(context, **seconds):
    (context.output() / "times.json").write_text(json.dumps(seconds))
"""
_FILL = """
    begin = time.perf_counter()
    array[...] = 1.0
    filled = time.perf_counter()
"""
_OURS = (
    """
def main(context):
    begin = time.perf_counter()
    array = context.create_array("volume", (N,))
    made = time.perf_counter() - begin
"""
    + _FILL
    + """
    took(context, hand=made, fill=filled - begin)
""",
    """
def main(context):
    begin = time.perf_counter()
    array = context.array("volume")
    opened = time.perf_counter()
    assert float(array.sum(dtype=np.float64)) == N
    took(context, take=opened - begin, read=time.perf_counter() - opened)
""",
)
_COPY = (
    """
def main(context):
    array = np.empty(N, np.float32)
"""
    + _FILL
    + """
    context.write_array("volume", array)
    took(context, hand=time.perf_counter() - filled, fill=filled - begin)
""",
    _OURS[1],
)
_PEER = (
    """
def main(context):
    array = np.empty(N, np.float32)
"""
    + _FILL
    + """
    np.save(context.output("files") / "volume.npy", array)
    took(context, hand=time.perf_counter() - filled, fill=filled - begin)
""",
    """
def main(context):
    begin = time.perf_counter()
    array = np.load(context.input("files") / "volume.npy")
    opened = time.perf_counter()
    assert float(array.sum(dtype=np.float64)) == N
    took(context, take=opened - begin, read=time.perf_counter() - opened)
""",
)
_TAIL = "\nraise SystemExit(run('bench', main))\n"
_DEFINITION = """\
api-version: 0.5.0
name: bench
operators:
- name: maker
  container: {{image: py, command: {maker}}}
  requests: {{memory: {memory}}}
  output:
  - {{name: times, path: /times}}
  - {output}
- name: reader
  container: {{image: py, command: {reader}}}
  requests: {{memory: {memory}}}
  input: [{input}]
  output: [{{name: out, path: /times}}]
"""


@dataclass
class Times:
    """The report of one job: when its operators ran."""

    ends: dict[str, OperatorEnd] = field(default_factory=dict)

    def operator_started(self, operator: str, at: float, image: str | None = None) -> None:
        """Nothing to note."""

    def operator_stopped(self, operator: str, at: float, end: OperatorEnd) -> None:  # noqa: ARG002
        """Keep how it ended."""
        self.ends[operator] = end


def job(
    base: Path, cells: int, codes: tuple[str, str], lines: Mapping[str, str]
) -> dict[str, float]:
    """Run a job of two operators and return the seconds that they and the check took."""
    commands = [
        json.dumps([sys.executable, "-c", _HEAD.format(cells=cells) + code + _TAIL])
        for code in codes
    ]
    text = _DEFINITION.format(
        maker=commands[0], reader=commands[1], memory=(cells >> 18) * 2 + 512, **lines
    )
    definition = parse(text, "bench.yaml")
    word = uuid.uuid4().hex
    folder = base / word
    (folder / "input").mkdir(parents=True)
    logs = {o.name: folder / f"{o.name}.log" for o in definition.operators}
    run = JobRun(word, 1, "bench", word, word, definition, folder, logs, (), 1.0)
    report = Times()
    executor = ProcessExecutor({"py": ImageSettings(command=[sys.executable])})
    executor.start(run, report, lambda: None).join()
    for name, end in report.ends.items():
        assert end.end is End.COMPLETED, (end, logs[name].read_text())
    found: dict[str, float] = {}
    for name in ("maker/times", "reader/out"):
        found |= json.loads((folder / "operators" / name / "times.json").read_text())
    shutil.rmtree(folder)
    return found


def check_seconds() -> float:
    """How long the gateway looks at one array between two operators: the header, not the data."""
    times = []
    with tempfile.TemporaryDirectory(dir=shared.ROOT) as folder:
        import numpy as np

        path = Path(folder) / "x.npy"
        np.lib.format.open_memmap(path, "w+", "f4", (1 << 20,))
        for _ in range(20):
            begin = time.perf_counter()
            shared._cells(path)  # noqa: SLF001 - the step that is measured
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> int:
    """Measure both ways; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))  # noqa: S108
    given = parser.parse_args()
    cells = given.mib << 18
    ways: dict[str, Callable[[], dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-typed-", dir=given.folder) as folder:
        base = Path(folder)
        data = "{name: volume, type: array, element-type: f32, shape: [-1]}"
        files = "{name: files, path: /files}"
        ways["np.save + np.load"] = lambda: job(
            base, cells, _PEER, {"output": files, "input": "{from: maker, name: files, path: /in}"}
        )
        ways["shared memory"] = lambda: job(
            base, cells, _OURS, {"output": data, "input": "{from: maker, name: volume}"}
        )
        ways["write_array"] = lambda: job(
            base, cells, _COPY, {"output": data, "input": "{from: maker, name: volume}"}
        )
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, way in ways.items():
                rounds[name].append(way())
    check = check_seconds()
    totals = {}
    for name, found in rounds.items():
        mean = {key: statistics.median(r[key] for r in found) for key in found[0]}
        extra = 0.0 if name == "np.save + np.load" else check
        totals[name] = mean["hand"] + mean["take"] + extra
        print(
            f"{name:18} hand on {1000 * totals[name]:9.2f} ms   "
            f"fill {mean['fill']:.2f} s   read all {mean['read']:.2f} s   "
            f"together {totals[name] + mean['fill'] + mean['read']:.2f} s"
        )
    ratio = totals["np.save + np.load"] / totals["shared memory"]
    print(
        f"{given.mib} MiB of float32, {given.rounds} rounds: {ratio:.0f} times faster (≥ {RATIO})"
    )
    return 0 if ratio >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
