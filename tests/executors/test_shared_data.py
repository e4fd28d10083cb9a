# ruff: noqa: E501 - a table of faults reads best with one line for each
"""Data through shared memory (0.5.0): handed on without a copy, checked, counted, freed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.config.settings import ImageSettings
from gateway.database.schema import new_id
from gateway.executors import shared
from gateway.executors.limits import Watch
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import End, JobRun
from gateway.pipelines.cells import ELEMENTS, Cells
from gateway.pipelines.graph import needs
from gateway.pipelines.parse import parse

PYTHON = {"test/py": ImageSettings(command=[sys.executable])}


def step(name, code, *keys):
    """An operator that runs ``code`` as the main function of the SDK."""
    program = (
        "import json, os, numpy as np\nfrom gateway.operators.sdk import run\n"
        f"def main(context):\n{textwrap.indent(textwrap.dedent(code), '    ')}\n"
        f"raise SystemExit(run({name!r}, main))\n"
    )
    lines = "".join(f"  {key}\n" for key in keys)
    return (
        f"- name: {name}\n  container:\n    image: test/py\n"
        f"    command: {json.dumps([sys.executable, '-c', program])}\n{lines}"
    )


OUTPUTS = (
    "output:",
    "- {name: Volume, type: array, element-type: f32, shape: [2, -1, 3]}",
    "- {name: words, type: string}",
    "- {name: factor, type: f64}",
    "- {name: files, type: stream, format: json, path: /output}",
)
INPUTS = (
    "input:",
    "- {from: maker, name: volume, type: array, element-type: float32, shape: [2, 4, -1]}",
    "- {from: maker, name: words}",
    "- {from: maker, name: factor, type: float64}",
    "- {from: maker, name: files, path: /input}",
    "output: [{name: out, path: /output}]",
)
MAKER = """
    volume = context.create_array("volume", (2, 4, 3))
    volume[...] = np.arange(24).reshape(2, 4, 3)
    context.write_text("words", "Größe 5 µm")
    context.write_number("factor", 0.5)
    place = os.stat("/run/gateway/out/Volume.npy")
    (context.output() / "inode").write_text(f"{place.st_dev} {place.st_ino}")
"""
READER = """
    volume = context.array("volume")
    assert isinstance(volume, np.memmap) and not volume.flags.writeable
    assert volume.dtype == np.float32 and volume.sum() == 276
    assert context.text("words") == "Größe 5 µm"
    assert context.number("factor") == 0.5
    place = os.stat("/run/gateway/in/Volume.npy")
    assert (context.input("files") / "inode").read_text() == f"{place.st_dev} {place.st_ino}"
    try:
        open("/run/gateway/in/Volume.npy", "r+b")
    except OSError:
        (context.output() / "seen").write_text(str(sorted(os.listdir("/run/gateway/in"))))
"""


def test_arrays_strings_and_numbers_are_handed_on_without_a_copy(start):
    operators = step("maker", MAKER, *OUTPUTS) + step("reader", READER, *INPUTS)
    job = start(operators, images=PYTHON, version="0.5.0")
    report = job.wait()
    assert [e.end for e in report.ends.values()] == [End.COMPLETED] * 2, (
        report.ends,
        job.log("maker"),
        job.log("reader"),
    )
    seen = job.output("reader") / "out" / "seen"
    assert seen.read_text() == "['Volume.npy', 'factor.npy', 'words.npy']"
    assert not shared.folder(job.run.job_id, 1).exists(), "shared memory was not freed"
    told = shared.variables(job.run.definition.operator("reader"))
    assert set(told) == {shared.INPUTS}


def test_the_sdk_refuses_what_is_not_declared(start):
    code = """
        for name, values in (("volume", np.zeros((2, 4, 3))), ("volume", np.zeros((2, 3), "f4"))):
            try:
                context.write_array(name, values)
            except Exception as error:
                print(error.code)
        context.array("volume")
    """
    job = start(step("maker", code, *OUTPUTS), images=PYTHON, version="0.5.0")
    report = job.wait()
    assert (report.ends["maker"].end, report.ends["maker"].exit_code) == (End.EXIT_CODE, 2)
    log = job.log("maker")
    assert log.count("DATA_MISMATCH") == 2
    assert "NO_DATA_INPUT" in log


@pytest.mark.parametrize("limiter", [None, Watch()], ids=["best", "watch"])
def test_data_counts_as_memory_of_its_writer(start, limiter):
    code = """
        big = np.lib.format.open_memmap("/run/gateway/out/x.npy", "w+", "u1", (400 << 20,))
        for start in range(0, big.size, 1 << 20):
            big[start:start + (1 << 20)] = 1
        big.flush()
        del big
        import time; time.sleep(1)
    """
    keys = (
        "requests: {memory: 200}",
        "output: [{name: x, type: array, element-type: u8, shape: [-1]}]",
    )
    job = start(step("maker", code, *keys), images=PYTHON, version="0.5.0", limiter=limiter)
    assert job.wait().ends["maker"].end is End.OUT_OF_MEMORY
    assert not shared.folder(job.run.job_id, 1).exists()


GATEWAY = """
import sys, threading, pathlib
from gateway.config.settings import ImageSettings
from gateway.executors.process import ProcessExecutor
from gateway.jobs.executor import JobRun
from gateway.pipelines.parse import parse
folder, definition, job = sys.argv[1:]
definition = parse(pathlib.Path(definition).read_text(), "p")
class Report:
    def operator_started(self, *a): pass
    def operator_stopped(self, *a): pass
base = pathlib.Path(folder)
logs = {o.name: base / "logs" / o.name for o in definition.operators}
run = JobRun(job, 1, "n", job, job, definition, base, logs, (), 1.0)
images = {"test/py": ImageSettings(command=[sys.executable])}
ProcessExecutor(images).start(run, Report(), lambda: None)
threading.Event().wait()
"""


@pytest.mark.crash
def test_shared_memory_of_a_killed_gateway_is_freed_when_the_attempt_is_reaped(tmp_path):
    code = """
        context.write_array("x", np.ones(1 << 20, np.uint8))
        import time; time.sleep(300)
    """
    keys = ("output: [{name: x, type: array, element-type: u8, shape: [-1]}]",)
    text = "api-version: 0.5.0\nname: t\noperators:\n" + step("maker", code, *keys)
    (tmp_path / "p.yaml").write_text(text)
    (tmp_path / "input").mkdir()
    job = new_id()
    file = shared.folder(job, 1) / "maker" / "x.npy"
    command = [sys.executable, "-c", GATEWAY, str(tmp_path), str(tmp_path / "p.yaml"), job]
    with subprocess.Popen(command) as gateway:
        try:
            deadline = time.monotonic() + 40
            while not (file.exists() and file.stat().st_blocks * 512 >= 1 << 20):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            gateway.kill()
    assert file.exists()
    ProcessExecutor().reap(job, 1)
    assert not shared.folder(job, 1).exists()
    ProcessExecutor().reap(job, 1)


TWO = """\
api-version: 0.5.0
name: p
operators:
- name: a
  container: {image: i}
  requests: {memory: 1}
  output: [{name: x, type: array, element-type: i16, shape: [2, -1]}]
- {name: b, container: {image: i}, input: [{from: a, name: x, type: array, element-type: i16, shape: [-1, 3]}]}
"""


@pytest.fixture
def run(tmp_path):
    definition = parse(TWO, "p.yaml")
    logs = {o.name: tmp_path / o.name for o in definition.operators}
    made = JobRun(new_id(), 1, "n", new_id(), new_id(), definition, tmp_path, logs, (), 1.0)
    shared.begin(made)
    shared.prepare(made, definition.operators[0])
    yield made
    shared.clear(made.job_id, 1)


def saved(path, array):
    np.save(path, array)


def test_good_data_passes_and_strange_files_go(run):
    folder = shared.folder(run.job_id, 1) / "a"
    saved(folder / "x.npy", np.zeros((2, 3), np.int16))
    (folder / "more").mkdir()
    (folder / "more" / "deep").write_text("x")
    (folder / "other.npy").symlink_to("/etc/passwd")
    assert shared.fault(run, run.definition.operators[0]) is None
    assert [p.name for p in folder.iterdir()] == ["x.npy"]
    assert shared.fault(run, run.definition.operators[1]) is None


def _fifo(path):
    os.mkfifo(path)


def _link(path):
    target = path.with_name("target")
    saved(target.with_suffix(".npy"), np.zeros((2, 3), np.int16))
    path.symlink_to("target.npy")


def _more(path):
    saved(path, np.zeros((2, 3), np.int16))
    with path.open("ab") as file:
        file.write(b"x")


def _less(path):
    saved(path, np.zeros((2, 3), np.int16))
    os.truncate(path, path.stat().st_size - 1)


def _liar(path):
    saved(path, np.zeros((2, 3), np.int16))
    path.write_bytes(path.read_bytes().replace(b"(2, 3), }    ", b"(2, 99999), }"))


def _huge(path):
    saved(path, np.zeros((2, 3), np.int16))
    path.write_bytes(
        path.read_bytes().replace(b"(2, 3), }" + b" " * 20, b"(2, 99999999999999999999), }" + b" ")
    )


@pytest.mark.parametrize(
    ("make", "end", "words"),
    [
        (lambda path: None, End.OUTPUT_MISSING, "'x': the operator wrote nothing"),
        (lambda path: saved(path, np.zeros((2, 3), "f4")), End.OUTPUT_UNSAFE, "the elements differ"),
        (lambda path: saved(path, np.zeros((2, 3), ">i2")), End.OUTPUT_UNSAFE, "not NumPy's"),
        (lambda path: saved(path, np.zeros((2, 3), "c8")), End.OUTPUT_UNSAFE, "not NumPy's"),
        (lambda path: saved(path, np.zeros(3, "i2")), End.OUTPUT_UNSAFE, "numbers of dimensions"),
        (lambda path: saved(path, np.zeros((5, 3), "i2")), End.OUTPUT_UNSAFE, "dimension 0 is 5, not 2"),
        (lambda path: saved(path, np.zeros((2, 4), "i2")), End.OUTPUT_UNSAFE, "dimension 1 is 4, not 3, which 'b' takes"),
        (lambda path: saved(path, np.asfortranarray(np.zeros((2, 3), "i2"))), End.OUTPUT_UNSAFE, "C order"),
        (lambda path: np.save(path, np.array([[{}]]), allow_pickle=True), End.OUTPUT_UNSAFE, "not NumPy's"),
        (lambda path: path.write_bytes(b"hello"), End.OUTPUT_UNSAFE, "is no NPY file"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000), End.OUTPUT_UNSAFE, "not NumPy's"),
        (lambda path: path.mkdir(), End.OUTPUT_UNSAFE, "is no plain file"),
        (_fifo, End.OUTPUT_UNSAFE, "is no plain file"),
        (_link, End.OUTPUT_UNSAFE, "is no plain file"),
        (_more, End.OUTPUT_UNSAFE, "bytes, and its header tells of int16 [2, 3]"),
        (_less, End.OUTPUT_UNSAFE, "bytes, and its header tells of int16 [2, 3]"),
        (_liar, End.OUTPUT_UNSAFE, "its header tells of int16 [2, 99999]"),
        (_huge, End.OUTPUT_UNSAFE, "more than any machine holds"),
        (lambda path: path.write_bytes(bytes(2 << 20)), End.OUT_OF_MEMORY, "more than the 1 MB"),
    ],
    ids=range(19),
)  # fmt: skip
def test_bad_data_is_refused_before_anyone_reads_it(run, make, end, words):
    make(shared.folder(run.job_id, 1) / "a" / "x.npy")
    found = shared.fault(run, run.definition.operators[0])
    assert found is not None
    assert found.end is end
    assert words in found.reason


def test_every_element_of_the_language_is_known_by_its_numpy_name(run):
    path = shared.folder(run.job_id, 1) / "a" / "x.npy"
    for name, (_, size) in ELEMENTS.items():
        assert np.dtype(name).itemsize == size
        saved(path, np.zeros((2, 3), name))
        assert shared._cells(path) == Cells(name, (2, 3))


def test_a_job_is_given_what_its_data_takes_to_the_end():
    def memory(first, second, asked=100):
        text = f"""\
api-version: 0.5.0
name: p
operators:
- {{name: a, container: {{image: i}}, requests: {{memory: {asked}}}, output: [{first}]}}
- {{name: b, container: {{image: i}}, requests: {{memory: 60}}, input: [{{from: a}}], output: [{second}]}}
"""
        return needs(parse(text, "p.yaml")).memory

    fixed = "{name: x, type: array, element-type: f32, shape: [1024, 1024, 5]}"
    open_ended = "{name: x, type: array, element-type: f32, shape: [-1]}"
    assert memory(fixed, "{name: y, type: i64}") == 100 + 20 + 1
    assert memory(open_ended, fixed) == 100 + 100 + 20


def test_a_folder_of_the_host_is_shown_read_only_when_it_is_allowed(start):
    # The language keeps /tmp for the operating system.
    with tempfile.TemporaryDirectory(dir=Path.home()) as base:
        atlas = Path(base) / "atlas"
        atlas.mkdir()
        (atlas / "a.txt").write_text("map")
        (atlas / "away").symlink_to("/srv")
        script = f"cat {atlas}/a.txt; touch {atlas}/b.txt || true; echo x > /output/done"

        def end(path, *allowed):
            job = start(
                f"- name: a\n  container: {{image: test/sh, hostVolumePath: '{path}', "
                f"command: [/bin/sh, -c, '{script}']}}\n  output: [{{path: /output}}]\n",
                host_volumes=allowed,
            )
            return job.wait().ends["a"], job.log("a")

        good, log = end(atlas, base)
        assert good.end is End.COMPLETED
        assert log.startswith("map")
        assert not (atlas / "b.txt").exists()
        for path, allowed in (
            (atlas, f"{base}/other"),
            (atlas / "away", base),
            (atlas / "none", base),
        ):
            bad, _ = end(path, allowed)
            assert bad.end is End.IMAGE_MISSING
            assert "does not allow" in bad.reason
