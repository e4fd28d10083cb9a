"""A modality that never gives up, a gateway that is killed, and the books that must balance."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import generate_uid

from tests.support.counting_pacs import CountingPacs
from tests.support.dicom import encode, slice_
from tests.support.evidence import rows
from tests.support.site import Site, write


@dataclass
class Campaign:
    """Studies that go in while the gateway is killed again and again."""

    site: Site
    pacs: CountingPacs
    folder: Path
    slices: int = 3
    unsent: list[Path] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """SOP Instance UID → digest of the data set, of what was answered Success."""
    digests: dict[Path, tuple[str, str]] = field(default_factory=dict)

    def new_study(self) -> None:
        """One more study waits at the modality."""
        study = generate_uid()
        for number in range(self.slices):
            ds = slice_(number, StudyInstanceUID=study, SeriesInstanceUID=f"{study[:60]}.1")
            path = write(ds, self.folder / f"{ds.SOPInstanceUID}.dcm")
            digest = hashlib.sha256(encode(ds)).hexdigest()
            self.digests[path] = (str(ds.SOPInstanceUID), digest)
            self.unsent.append(path)

    def push(self) -> None:
        """Send what was never acknowledged, until it is or the gateway is dead."""
        while self.unsent and not self.site.dead:
            for sent in self.site.send(self.unsent):
                if sent.status == 0:
                    uid, digest = self.digests[sent.path]
                    self.acknowledged[uid] = digest
                    self.unsent.remove(sent.path)

    def one_kill(self, seconds: float) -> None:
        """A new study is on its way when the gateway is killed after ``seconds``."""
        self.new_study()
        self.site.start()
        pushing = threading.Thread(target=self.push)
        pushing.start()
        time.sleep(seconds)
        self.site.kill()
        pushing.join()

    def one_fault(self, name: str, seconds: float = 30) -> bool:
        """A new study is on its way when the gateway dies at a fault point; False if it did not."""
        self.new_study()
        self.site.start(fault=name)
        pushing = threading.Thread(target=self.push)
        pushing.start()
        deadline = time.monotonic() + seconds
        while not self.site.dead and time.monotonic() < deadline:
            time.sleep(0.02)
        died = self.site.dead
        self.site.kill()
        pushing.join()
        return died

    def finish(self, seconds: float = 180) -> None:
        """Start once more, let everything end, and check the books."""
        self.site.start()
        self.push()
        assert not self.unsent
        # The index follows the answer by a moment; what it has not by then is lost.
        self.site.wait(lambda: self.acknowledged.keys() <= self._stored().keys(), 30)
        self.site.wait(self._over, seconds)
        self.check()
        assert self.site.stop() == 0

    def _over(self) -> bool:
        return self.site.settled() and bool(self.site.items("payloads"))

    def check(self) -> None:
        """Nothing acknowledged is lost, nothing is done twice."""
        self._check_instances()
        expected = self._check_jobs()
        assert set(self.pacs.seen) == expected
        for uid, digests in self.pacs.seen.items():
            assert len(set(digests)) == 1, f"{uid} was sent with different bytes"

    def _stored(self) -> dict[str, tuple[str, int]]:
        """Path and size of every stored instance, by SOP Instance UID; each is there once."""
        found = rows(
            self.site, "SELECT sop_instance_uid, path, size FROM instances WHERE state = 'STORED'"
        )
        stored = {uid: (path, size) for uid, path, size in found}
        assert len(stored) == len(found), "an instance is stored twice"
        return stored

    def _check_instances(self) -> None:
        stored = self._stored()
        assert self.acknowledged.keys() <= stored.keys(), "an acknowledged instance is lost"
        for uid, digest in self.acknowledged.items():
            path, size = stored[uid]
            data = (self.site.data / path).read_bytes()[-size:]
            assert hashlib.sha256(data).hexdigest() == digest, f"{uid} has other bytes"

    def _check_jobs(self) -> set[str]:
        """One end per decision; returns the SOP Instance UIDs the PACS must hold."""
        jobs = {job["id"]: job for job in self.site.items("jobs")}
        made: set[str] = set()
        for decision in self.site.items("decisions"):
            if decision["outcome"] != "MATCHED":
                assert decision["outcome"] == "UNCHANGED", decision
                continue
            job = jobs[decision["job_id"]]
            made.add(job["id"])
            if job["status"] == "CANCELED":
                assert "superseded" in job["reason"]
            else:
                assert (job["state"], job["status"]) == ("STOPPED", "HEALTHY"), job["reason"]
        assert made == jobs.keys(), "a job without a decision"
        keys = [(j["received_payload_id"], j["revision"], j["rule"]) for j in jobs.values()]
        assert len(keys) == len(set(keys)), "two jobs for one decision"
        healthy = [j["id"] for j in jobs.values() if j["status"] == "HEALTHY"]
        return {f"2.25.{int(job, 16)}" for job in healthy}


def random_moments(seed: int, count: int, longest: float) -> list[float]:
    """Moments between the first C-STORE and well after the delivery, the same for one seed."""
    source = random.Random(seed)  # noqa: S311 - test moments, not secrets
    return [source.uniform(0, longest) for _ in range(count)]
