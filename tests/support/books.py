"""Senders that write down what was acknowledged, and the check that all of it is kept once."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import generate_uid

from gateway.payloads.filemeta import read_origin
from tests.support import databases
from tests.support.dicom import encode, slice_
from tests.support.site import Site, write


class Books:
    """What ``senders`` modalities sent and what was answered Success.

    Each sends studies of a few slices, one association per study, over and over; whatever is not
    answered is sent again, as a modality would.
    """

    def __init__(self, site: Site, folder: Path, *, senders: int = 4, large: bool = True) -> None:
        self.site = site
        self.folder = folder
        self.sizes = (64, 40_000, 500_000, 1_500_000) if large else (64, 40_000)
        self.acknowledged: dict[str, str] = {}
        """SOP Instance UID → SHA-256 of the data set."""
        self._senders = senders
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to send."""
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(self._senders)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the association under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        for study in itertools.count():
            made = dict(self._study(self.folder / f"{number}-{study}"))
            unsent = list(made)
            while unsent:
                if self._stop.is_set():
                    return
                if self.site.dead or not self.site.ports:
                    time.sleep(0.02)
                    continue
                for sent in self.site.send(unsent):
                    if sent.status == 0:
                        uid, digest = made[sent.path]
                        self.acknowledged[uid] = digest
                        unsent.remove(sent.path)
            for path in made:
                path.unlink()

    def _study(self, folder: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
        study = generate_uid()
        for number, size in enumerate(self.sizes):
            ds = slice_(
                number,
                StudyInstanceUID=study,
                SeriesInstanceUID=f"{study[:60]}.1",
                PatientID=study[-12:],
                PixelData=bytes([number + 1]) * size,
            )
            path = write(ds, folder / f"{number}.dcm")
            digest = hashlib.sha256(encode(ds)).hexdigest()
            yield path, (str(ds.SOPInstanceUID), digest)

    def check(self, data: Path, acknowledged: dict[str, str] | None = None) -> int:
        """Every acknowledged instance is in index and spool, once, byte for byte; how many are.

        The gateway has applied everything; what was sent without being answered may be there too.
        """
        wanted = self.acknowledged if acknowledged is None else acknowledged
        stored = "select sop_instance_uid, path, size from instances where state = 'STORED'"
        rows = databases.rows(data, stored)
        (counted,) = databases.rows(data, "select coalesce(sum(instances), 0) from payloads")
        (members,) = databases.rows(data, "select count(*) from payload_instances")
        kept = {uid: path for uid, path, _ in rows}
        assert len(kept) == len(rows), "an instance is in the index twice"
        assert counted[0] == members[0] == len(rows), "payloads count otherwise than the index"
        lost = set(wanted) - set(kept)
        assert not lost, f"{len(lost)} of {len(wanted)} acknowledged instances are lost"
        for uid, digest in wanted.items():
            assert _digest(data / kept[uid]) == digest, "an instance is not what was sent"
        files = {str(p.relative_to(data)) for p in (data / "spool").glob("*/*/*.dcm")}
        assert files == set(kept.values()), "index and spool do not agree"
        return len(rows)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(read_origin(file).data_offset)
        return hashlib.sha256(file.read()).hexdigest()
