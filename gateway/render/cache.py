"""Volumes that were made, in a folder of bounded size; what is missing is made again.

``<data-dir>/render/<payload>.<digest>/`` holds a manifest and one file per level.  A folder
appears when its manifest and coarsest level are whole; finer levels appear in it one by one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from gateway.render.datasets import Dataset
from gateway.render.errors import NotReady, Unreadable
from gateway.render.making.order import MANIFEST, READY, REFUSED, Order
from gateway.render.sources import Source
from gateway.results.files import opened

log = logging.getLogger(__name__)

FOLDER: Final = "render"
MOST_BYTES: Final = 2 << 30
"""Largest volume, in bytes of its voxels."""
CACHE_BYTES: Final = 5_000_000_000
"""Size that the folder is brought back to."""
AT_ONCE: Final = 2
"""Volumes that are made at the same time."""
MAKING_SECONDS: Final = 300.0
_REMEMBERED: Final = 300.0
_STALE: Final = 3600.0
_VERSION: Final = 1
_PARTIAL: Final = "."


@dataclass
class _Making:
    """One volume that is being made, or was and failed."""

    ready: threading.Event = field(default_factory=threading.Event)
    """The manifest is there, or it failed."""
    done: threading.Event = field(default_factory=threading.Event)
    failure: str | None = None
    since: float = field(default_factory=time.monotonic)


class Cache:
    """Makes volumes and keeps them; any thread."""

    def __init__(
        self, data_dir: Path, most: int = CACHE_BYTES, seconds: float = MAKING_SECONDS
    ) -> None:
        self._root = data_dir / FOLDER
        self._payloads = data_dir / "payloads"
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(AT_ONCE)
        self._making: dict[str, _Making] = {}

    def manifest(self, dataset: Dataset, volume: Source, wait: float) -> dict[str, Any]:
        """What is known of a volume, as soon as its coarsest level is there.

        Raises :class:`NotReady` after ``wait`` seconds, :class:`Unreadable` for no volume.
        """
        folder = self._folder(dataset, volume)
        deadline = time.monotonic() + wait
        while (found := _manifest(folder)) is None:
            making = self._begin(dataset, volume, folder)
            left = deadline - time.monotonic()
            if making.failure is not None or left <= 0:
                raise _why(making)
            # One that was lost as it was made ends first, then it is made again.
            (making.done if making.ready.is_set() else making.ready).wait(left)
        return found

    def level(self, dataset: Dataset, volume: Source, name: str, wait: float) -> Path:
        """The file of a level that the manifest names; raises as :meth:`manifest` does."""
        folder = self._folder(dataset, volume)
        path = folder / name
        deadline = time.monotonic() + wait
        self.manifest(dataset, volume, wait)
        while not path.is_file():
            making = self._making.get(folder.name)
            if making is None or (making.done.is_set() and making.failure is None):
                # Made by a process that died, or evicted in part: once more from the start.
                making = self._begin(dataset, volume, folder)
            if making.failure is not None or time.monotonic() >= deadline:
                raise _why(making)
            making.done.wait(0.05)
        return path

    def whole(self, dataset: Dataset, volume: Source, wait: float) -> dict[str, Any]:
        """The manifest when every level is there; raises as :meth:`manifest` does."""
        found = self.manifest(dataset, volume, wait)
        self.level(dataset, volume, str(found["levels"][-1]["file"]), wait)
        return found

    def tidy(self) -> None:
        """Delete what belongs to deleted payloads, then the oldest until the rest fits."""
        if not self._root.is_dir():
            return
        kept: list[tuple[float, int, Path]] = []
        for folder in self._root.iterdir():
            payload = folder.name.partition(".")[0]
            age = time.time() - _used(folder)
            gone = not (self._payloads / payload).is_dir() if payload else age > _STALE
            if gone:
                shutil.rmtree(folder, ignore_errors=True)
            elif payload:
                kept.append((_used(folder), _size(folder), folder))
        total = sum(size for _, size, _ in kept)
        for _, size, folder in sorted(kept, key=lambda one: one[0])[:-1]:
            if total <= self._most:
                break
            with self._lock:
                making = self._making.get(folder.name)
                if making is not None and not making.done.is_set():
                    continue
            shutil.rmtree(folder, ignore_errors=True)
            total -= size

    def _folder(self, dataset: Dataset, volume: Source) -> Path:
        """Where the volume lies or will: its name changes when a file does."""
        digest = hashlib.sha256(f"{_VERSION} {volume.format} {volume.role}".encode())
        for path in volume.paths:
            try:
                status = (dataset.payload / path).lstat()
            except OSError:
                continue
            digest.update(f"{path}\0{status.st_size} {status.st_mtime_ns}\n".encode())
        return self._root / f"{dataset.payload_id}.{digest.hexdigest()[:24]}"

    def _begin(self, dataset: Dataset, volume: Source, folder: Path) -> _Making:
        with self._lock:
            now = time.monotonic()
            self._making = {
                name: one
                for name, one in self._making.items()
                if not one.done.is_set() or now - one.since < _REMEMBERED
            }
            making = self._making.get(folder.name)
            if making is not None and (not making.done.is_set() or making.failure is not None):
                return making
            making = self._making[folder.name] = _Making()
        work = threading.Thread(
            target=self._make, args=(dataset, volume, folder, making), name="render", daemon=True
        )
        work.start()
        return making

    def _make(self, dataset: Dataset, volume: Source, folder: Path, making: _Making) -> None:
        work = self._root / f"{_PARTIAL}{uuid.uuid4().hex}"
        try:
            with self._slots:
                self.tidy()
                work.joinpath("out").mkdir(parents=True)
                _stage(dataset.payload, volume, work / "source")
                self._run(volume, work, folder, making)
        except Exception as error:  # noqa: BLE001 - the thread's boundary
            making.failure = making.failure or f"it cannot be made now ({type(error).__name__})"
            # No text of the error: it may hold a file's name, and an operator chose that.
            log.warning(
                "volume not made",
                extra={"job_id": dataset.job_id, "error": type(error).__name__},
            )
        finally:
            shutil.rmtree(work, ignore_errors=True)
            making.done.set()
            making.ready.set()

    def _run(self, volume: Source, work: Path, folder: Path, making: _Making) -> None:
        order = Order(work / "source", volume.format, volume.role, MOST_BYTES)
        with subprocess.Popen(
            [sys.executable, "-m", "gateway.render.making"],
            cwd=work / "out",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(),
        ) as process:
            timer = threading.Timer(self._seconds, process.kill)
            timer.start()
            try:
                assert process.stdin is not None  # noqa: S101 - a pipe was asked for
                process.stdin.write(order.written())
                process.stdin.close()
                said = self._follow(process, work / "out", folder, making)
            finally:
                timer.cancel()
        if process.returncode != 0:
            making.failure = said or "the program that reads it ended unexpectedly"
            raise Unreadable(making.failure)

    @staticmethod
    def _follow(
        process: subprocess.Popen[str],
        out: Path,
        folder: Path,
        making: _Making,
    ) -> str | None:
        """Publish the folder when the first level is there; what was said against the volume."""
        refused: str | None = None
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            word, *more = json.loads(line)
            if word == READY:
                # The process works in the folder: it goes on writing whatever its name.
                shutil.rmtree(folder, ignore_errors=True)
                out.rename(folder)
                making.ready.set()
            elif word == REFUSED:
                refused = ": ".join(more)
        return refused


def _stage(payload: Path, volume: Source, target: Path) -> None:
    """Give the volume's files to the process under plain names, whatever lies at their paths."""
    target.mkdir()
    for number, path in enumerate(volume.paths):
        name = PurePosixPath(path).name
        # DICOM files of different folders may have one name; the others are found by theirs.
        place = target / (f"{number:06}" if volume.format in {"dicom", "seg"} else name)
        with opened(payload, PurePosixPath(path)) as file:
            try:
                os.link(f"/proc/self/fd/{file.fileno()}", place, follow_symlinks=True)
            except OSError:
                with place.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)


def _environment() -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "PYTHONPATH") if key in os.environ}
    # One thread each: a volume must not take all cores from the receiver.
    return kept | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _why(making: _Making) -> Exception:
    if making.failure is not None:
        return Unreadable(f"This cannot be shown as a volume: {making.failure}.")
    return NotReady("The volume is being made; ask again.", retry_after=1)


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        os.utime(path)
    except (OSError, ValueError):
        return None
    return found


def _used(folder: Path) -> float:
    """When it was last asked for."""
    for path in (folder / MANIFEST, folder):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
