"""Query and retrieve against DCMTK's dcmqrscp, and against a peer that never ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from gateway.dicom.errors import UnsupportedByGateway
from gateway.dicom.folder_spool import FolderSpool
from gateway.dicom.peer import Peer
from gateway.dicom.query import (
    Asking,
    Level,
    Matches,
    QueryFailed,
    Root,
    Stopper,
    find,
    identifier,
)
from gateway.dicom.retrieve import get, move
from gateway.dicom.send import send
from gateway.errors import Refused
from tests.support.dcmqrscp import running_dcmqrscp
from tests.support.dcmtk import running_storescp
from tests.support.dicompeer import Station
from tests.support.job_payload import write_instance
from tests.support.programs import free_port, program

LATIN, KANJI = "Müller^Jörg", "Yamada^Tarou=山田^太郎"


def asking(port: int, called: str = "QR", root: Root = Root.STUDY) -> Asking:
    return Asking(Peer(called, "127.0.0.1", port), root)


def gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def studies(folder: Path) -> dict[str, list[str]]:
    """Two studies on disk; their instances by Study Instance UID."""
    made: dict[str, list[str]] = {}
    for study, name, charset, count in (
        ("1.2.826.0.1.3680043.8.498.11", LATIN, "ISO_IR 100", 3),
        ("1.2.826.0.1.3680043.8.498.12", KANJI, "ISO_IR 192", 2),
    ):
        made[study] = [
            str(
                write_instance(
                    folder / f"{study}.{n}.dcm", number=n, SpecificCharacterSet=charset,
                    StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", PatientName=name,
                    PatientID=f"P{study[-2:]}", StudyDate="20240102", StudyTime="101112",
                    StudyID="1", SeriesNumber=1,
                ).SOPInstanceUID
            )
            for n in range(1, count + 1)
        ]  # fmt: skip
    return made


@pytest.mark.peers
def test_dcmqrscp(tmp_path: Path, stations: Callable[..., Station]) -> None:
    made = studies(tmp_path / "studies")
    first, second = made
    sources = [{"ae-title": "QR", "hosts": ["127.0.0.1"]}]
    ours = stations(config={"applications": [{"ae-title": "AI"}], "sources": sources})
    with (
        running_storescp(tmp_path, "TARGET") as target,
        running_storescp(tmp_path, "OTHER") as other,
        running_dcmqrscp(
            tmp_path,
            {"TARGET": target.port, "OTHER": other.port, "AI": ours.port, "GATEWAY": ours.port},
        ) as port,
    ):
        assert send([tmp_path / "studies"], Peer("QR", "127.0.0.1", port)).complete
        _finds(port, made)
        _moves(port, first, target.files)
        assert movescu(port, first, "OTHER").returncode == 0
        assert [p.name for p in other.files()] == [p.name for p in target.files()]
        assert [p.read_bytes() for p in other.files()] == [p.read_bytes() for p in target.files()]
        _moves_to_us(port, first, made[first], ours)
        _gets(port, made, tmp_path)
        _by_hand(port, second, made[second], tmp_path)


def _finds(port: int, made: dict[str, list[str]]) -> None:
    outcome = Matches()
    found = list(find(asking(port), identifier(Level.STUDY, {}), outcome=outcome))
    assert {str(m.StudyInstanceUID): str(m.PatientName) for m in found} == dict(
        zip(made, (LATIN, KANJI), strict=True)
    )
    assert (outcome.count, outcome.cancelled, outcome.limited) == (2, False, False)
    first = next(iter(made))
    for level, keys, count in (
        (Level.SERIES, {"StudyInstanceUID": first}, 1),
        (Level.IMAGE, {"StudyInstanceUID": first, "SeriesInstanceUID": f"{first}.1"}, 3),
        (Level.STUDY, {"PatientID": "P1*"}, 2),
        (Level.STUDY, {"0010,0020": "P12"}, 1),
        (Level.STUDY, {"StudyDate": "20230101-20231231"}, 0),
    ):
        assert len(list(find(asking(port), identifier(level, keys)))) == count, keys
    patients = find(asking(port, root=Root.PATIENT), identifier(Level.PATIENT, {"PatientID": ""}))
    assert {m.PatientID for m in patients} == {"P11", "P12"}


def _moves(port: int, study: str, files: Any) -> None:
    request = identifier(Level.STUDY, {"StudyInstanceUID": study}, returned=False)
    seen: list[int] = []
    result = move(asking(port), request, "TARGET", progress=lambda r: seen.append(r.completed))
    assert (result.completed, result.failed, result.complete) == (3, 0, True)
    assert seen == sorted(seen)
    assert len(files()) == 3
    with pytest.raises(QueryFailed) as caught:
        move(asking(port), request, "NOBODY")
    assert caught.value.status == 0xA801


def _moves_to_us(port: int, study: str, uids: list[str], ours: Station) -> None:
    request = identifier(Level.STUDY, {"StudyInstanceUID": study}, returned=False)
    assert move(asking(port), request, "AI").complete
    arrived = [(s.arrival.calling_ae, s.arrival.sop_instance_uid) for s in ours.spool.stored]
    assert sorted(arrived) == sorted(("QR", uid) for uid in uids)
    # An AE title that we only call with is no place to send to.
    refused = move(asking(port), request, "GATEWAY")
    assert (refused.completed, refused.failed, refused.complete) == (0, 3, False)
    assert sorted(refused.failed_uids) == sorted(uids)
    assert len(ours.spool.stored) == len(uids)


def movescu(port: int, study: str, target: str) -> subprocess.CompletedProcess[str]:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
    return subprocess.run(
        [program("movescu"), "-S", "-aec", "QR", "-aem", target, *keys, "127.0.0.1", str(port)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )  # fmt: skip


def _gets(port: int, made: dict[str, list[str]], tmp_path: Path) -> None:
    study, uids = next(iter(made.items()))
    request = identifier(Level.STUDY, {"StudyInstanceUID": study}, returned=False)
    folder = tmp_path / "got"
    result = get(asking(port), request, FolderSpool(folder))
    assert (result.completed, result.arrived, result.refused, result.complete) == (3, 3, 0, True)
    got = {path.stem: pydicom.dcmread(path) for path in folder.iterdir()}
    assert sorted(got) == sorted(uids)
    for path in (tmp_path / "studies").glob(f"{study}.*.dcm"):
        sent = pydicom.dcmread(path)
        assert got[str(sent.SOPInstanceUID)] == sent


def _by_hand(port: int, study: str, uids: list[str], tmp_path: Path) -> None:
    to = ("--to", f"QR@127.0.0.1:{port}")
    done = gateway("query", *to, "PatientID=P12", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["PatientName"], row["StudyInstanceUID"]) == (KANJI, study)
    assert "1 matches" in done.stderr
    table = gateway("query", *to, "--level", "series", f"StudyInstanceUID={study}").stdout
    assert table.splitlines()[0].split()[:2] == ["STUDYINSTANCEUID", "MODALITY"]
    out = tmp_path / "cli"
    key = f"StudyInstanceUID={study}"
    done = gateway("retrieve", *to, key, "--get", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arrived"] == 2
    assert sorted(path.stem for path in out.iterdir()) == sorted(uids)
    done = gateway("retrieve", *to, key, "--move-to", "TARGET")
    assert done.returncode == 0, done.stderr
    assert (
        gateway("retrieve", *to, "StudyInstanceUID=1.2", "--get", "--out", str(out)).returncode == 1
    )
    assert gateway("retrieve", *to, key).returncode == 2
    assert gateway("query", *to, "NoSuchKey=1").returncode == 2
    assert gateway("query", "--to", f"QR@127.0.0.1:{free_port()}").returncode == 4


@contextmanager
def endless() -> Iterator[tuple[int, list[str], threading.Event]]:
    """A peer with matches without end; yields its port, what it noticed, and when it gave some."""
    noticed: list[str] = []
    gave_some = threading.Event()

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        number = 0
        while not event.is_cancelled:
            number += 1
            match = Dataset()
            match.QueryRetrieveLevel = "STUDY"
            match.StudyInstanceUID = f"1.2.{number}"
            time.sleep(0.005)
            if number == 20:
                gave_some.set()
            yield 0xFF01, match
        noticed.append("cancelled")
        yield 0xFE00, None

    ae = AE("QR")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, on_find)]
    )
    try:
        yield server.server_address[1], noticed, gave_some
    finally:
        server.shutdown()


def test_enough_is_enough() -> None:
    with endless() as (port, noticed, _):
        outcome = Matches()
        request = identifier(Level.STUDY, {"StudyInstanceUID": ""})
        found = list(find(asking(port), request, limit=5, outcome=outcome))
        assert [m.StudyInstanceUID for m in found] == [f"1.2.{n}" for n in range(1, 6)]
        assert (outcome.limited, outcome.cancelled, noticed) == (True, True, ["cancelled"])
        assert outcome.warnings == ["the peer does not match by some of the keys"]
        stopper = Stopper()
        for match in find(asking(port), request, stopper=stopper):
            if match.StudyInstanceUID == "1.2.3":
                stopper.stop()
        assert noticed == ["cancelled"] * 2
        with pytest.raises(UnsupportedByGateway, match="does not offer this service"):
            move(asking(port), request, "X")


def test_ctrl_c_cancels_and_shows_what_came() -> None:
    with endless() as (port, noticed, gave_some):
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "query", "--to", f"QR@127.0.0.1:{port}",
             "--limit", "100000"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert gave_some.wait(60)
        process.send_signal(signal.SIGINT)
        out, remarks = process.communicate(timeout=30)
    assert process.returncode == 0, remarks
    assert noticed == ["cancelled"]
    assert len(out.splitlines()) > 2
    assert "cancelled: there may be more" in remarks


def test_a_peer_that_stores_what_was_not_asked_for_is_cut_off(tmp_path: Path) -> None:
    ds = write_instance(tmp_path / "one.dcm", SOPInstanceUID="1.2.3")

    def on_get(event: Any) -> Iterator[Any]:
        yield 1
        yield 0xFF00, ds

    ae = AE("QR")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_supported_context(ds.SOPClassUID, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, on_get)])
    port = server.server_address[1]
    try:
        request = identifier(Level.STUDY, {"StudyInstanceUID": "1.2"}, returned=False)
        result = get(asking(port), request, FolderSpool(tmp_path / "got"))
        assert (result.arrived, result.complete) == (1, True)
        assert [p.name for p in (tmp_path / "got").iterdir()] == ["1.2.3.dcm"]
        full = FolderSpool(tmp_path / "full")
        (tmp_path / "full").rmdir()
        result = get(asking(port), request, full)
        assert (result.arrived, result.refused, result.complete) == (0, 1, False)
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "keys", [{"Nonsense": "1"}, {"PixelData": "1"}, {"ReferencedStudySequence": "1"}]
)
def test_what_cannot_be_asked(keys: dict[str, str]) -> None:
    with pytest.raises(Refused):
        identifier(Level.STUDY, keys)


def test_a_key_beyond_ascii_says_its_character_set() -> None:
    request = identifier(Level.STUDY, {"PatientName": "Mü*"})
    assert request.SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in identifier(Level.STUDY, {"PatientName": "Mu*"})
