"""Real peers against the SCP and the SCU: DCMTK and pynetdicom."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from gateway.dicom.errors import RejectedForGood
from gateway.dicom.files import read_instance
from gateway.dicom.peer import Peer
from gateway.dicom.scu import SendOutcome, StoreScu, echo
from tests.support.dcmtk import echoscu, running_storescp, storescu
from tests.support.dicompeer import Station
from tests.support.instances import write
from tests.support.orthanc import running_orthanc
from tests.support.programs import program

pytestmark = pytest.mark.peers


def nodelay(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


HANDLERS = [(evt.EVT_CONN_OPEN, nodelay)]


def uids(paths: list[Path]) -> list[str]:
    return sorted(read_instance(path).sop_instance_uid for path in paths)


def received(station: Station) -> list[str]:
    return sorted(item.arrival.sop_instance_uid for item in station.spool.stored)


def test_echoscu(station: Station) -> None:
    assert echoscu(station.port, "AI", options=["--repeat", "3"]).returncode == 0
    refused = echoscu(station.port, "NOPE")
    assert refused.returncode != 0
    assert "Called AE Title Not Recognized" in refused.stderr
    assert "Calling AE Title Not Recognized" in echoscu(station.port, "AI", "NOPE").stderr
    assert [record.state for record in station.records()] == ["RELEASED", "REJECTED", "REJECTED"]


@pytest.mark.data
@pytest.mark.parametrize("options", [[], ["--max-pdu", "4096"], ["--max-send-pdu", "4096"]])
def test_storescu(
    station: Station, unpacked: Callable[[str], list[Path]], options: list[str]
) -> None:
    paths = unpacked("ct-chest-8mm/ct-thorax-8mm")
    sent = storescu([paths[0].parent], station.port, "AI", options=options)
    assert sent.returncode == 0, sent.stderr
    assert received(station) == uids(paths)
    by_uid = {item.arrival.sop_instance_uid: item for item in station.spool.stored}
    for path in paths:
        # storescu writes data sets anew (lengths, group lengths); their content must be the same.
        ds = pydicom.dcmread(path)
        item = by_uid[ds.SOPInstanceUID]
        got = pydicom.dcmread(pydicom.filebase.DicomBytesIO(item.data), force=True)
        assert got.PixelData == ds.PixelData
        assert got.PatientID == ds.PatientID
    assert station.records()[0].state == "RELEASED"


@pytest.mark.data
def test_dcmsend_with_every_syntax_it_can(
    station: Station, unpacked: Callable[[str], list[Path]]
) -> None:
    paths = unpacked("transfer-syntaxes/test-pattern-colour")
    sent = subprocess.run(
        [
            program("dcmsend"),
            "--no-uid-checks",
            "--decompress-never",
            "-aec",
            "AI",
            "-aet",
            "DCMSEND",
            "127.0.0.1",
            str(station.port),
            *map(str, paths),
        ],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert sent.returncode == 0, sent.stderr
    assert received(station) == uids(paths)
    syntaxes = {item.arrival.transfer_syntax_uid for item in station.spool.stored}
    assert len(syntaxes) >= 4


def test_storescu_that_aborts_leaves_nothing(station: Station, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.dcm", i, size=1000) for i in range(3)]
    sent = storescu(paths, station.port, "AI", options=["--abort"])
    assert sent.returncode == 0, sent.stderr
    assert len(station.spool.stored) == 3
    record = station.records()[0]
    assert record.state in ("ABORTED", "OPEN")
    station.scp.stop(5)
    assert station.records()[0].state == "ABORTED"
    assert station.records()[0].reason == "aborted by the peer"


def test_pynetdicom_as_sender(station: Station) -> None:
    ae = AE("PYNETDICOM")
    ae.add_requested_context(Verification)
    ae.add_requested_context(CTImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    role = build_role(CTImageStorage, scu_role=True, scp_role=True)
    assoc = ae.associate(
        "127.0.0.1", station.port, ae_title="AI", ext_neg=[role], evt_handlers=HANDLERS
    )
    assert assoc.is_established
    assert assoc.acceptor.implementation_version_name == "GATEWAY_0_1"
    assert assoc.acceptor.maximum_length == 131072
    assert assoc.send_c_echo().Status == 0
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    ds.PatientName = "A"
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    status = assoc.send_c_store(ds, priority=1, originator_aet="MOVER", originator_id=3)
    assert status.Status == 0
    assoc.release()
    assert received(station) == ["1.2.3.4"]
    assert station.records()[0].state == "RELEASED"


@contextmanager
def pynetdicom_scp(handle: Callable[[Any], int], **ae_settings: Any) -> Iterator[int]:
    ae = AE("PYNETDICOM")
    ae.supported_contexts = AllStoragePresentationContexts
    ae.add_supported_context(Verification)
    for name, value in ae_settings.items():
        setattr(ae, name, value)
    handlers = [*HANDLERS, (evt.EVT_C_STORE, handle)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def test_pynetdicom_as_receiver(tmp_path: Path) -> None:
    paths = [write(tmp_path / str(i), i, size=30_000 + i) for i in range(1, 4)]
    paths.append(write(tmp_path / "s", 9, sop_class="1.2.840.10008.5.1.4.1.1.7"))
    paths.append(write(tmp_path / "j", 10, syntax=JPEGBaseline8Bit))
    got: dict[str, bytes] = {}
    statuses = iter([0x0000, 0xB000, 0xA701, 0x0000])

    def handle(event: Any) -> int:
        got[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return next(statuses)

    with pynetdicom_scp(handle) as port:
        peer = Peer("PYNETDICOM", "127.0.0.1", port)
        assert echo(peer) > 0
        results = list(StoreScu(peer).send(paths))
    assert [r.outcome for r in results] == [
        SendOutcome.SUCCESS,
        SendOutcome.WARNING,
        SendOutcome.FAILURE,
        SendOutcome.SUCCESS,
        SendOutcome.REFUSED_CONTEXT,
    ]
    for path in paths[:4]:
        instance = read_instance(path)
        assert got[instance.sop_instance_uid] == path.read_bytes()[instance.offset :]


def test_pynetdicom_that_wants_another_called_ae() -> None:
    with (
        pynetdicom_scp(lambda event: 0, require_called_aet=True) as port,
        pytest.raises(RejectedForGood, match="called AE title not recognized"),
    ):
        echo(Peer("OTHER", "127.0.0.1", port))


@pytest.mark.data
@pytest.mark.parametrize("options", [["-pdu", "4096"], ["-pdu", "131072"]])
def test_storescp_keeps_our_bytes(
    tmp_path: Path, unpacked: Callable[[str], list[Path]], options: list[str]
) -> None:
    paths = unpacked("ct-chest-8mm/ct-thorax-8mm")[:8]
    with running_storescp(tmp_path, options=options) as scp:
        peer = Peer("STORESCP", "127.0.0.1", scp.port)
        assert echo(peer) > 0
        results = list(StoreScu(peer).send(paths))
        assert all(r.outcome is SendOutcome.SUCCESS for r in results)
        wanted = {p.read_bytes()[read_instance(p).offset :] for p in paths}
        assert {p.read_bytes()[read_instance(p).offset :] for p in scp.files()} == wanted


def test_storescp_that_refuses_compression_gets_a_refused_context(tmp_path: Path) -> None:
    with running_storescp(tmp_path) as scp:
        path = write(tmp_path / "a", syntax=JPEGBaseline8Bit)
        (result,) = StoreScu(Peer("STORESCP", "127.0.0.1", scp.port)).send([path])
    assert result.outcome is SendOutcome.REFUSED_CONTEXT


def test_three_real_senders_at_once(station: Station, tmp_path: Path) -> None:
    codes = []
    folders = []
    for n in range(3):
        folder = tmp_path / str(n)
        folder.mkdir()
        folders.append(folder)
        for i in range(15):
            write(folder / f"{i}.dcm", 100 * n + i, size=60_000)

    def run(folder: Path) -> None:
        codes.append(storescu([folder], station.port, "AI").returncode)

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert len(set(received(station))) == 45


@pytest.mark.data
def test_orthanc_both_ways(
    station: Station, tmp_path: Path, unpacked: Callable[[str], list[Path]]
) -> None:
    paths = unpacked("ct-chest-8mm/ct-thorax-8mm")[:4]
    paths += unpacked("transfer-syntaxes/test-pattern-colour")[:3]
    modalities = {"gateway": ("AI", station.port)}
    with running_orthanc(tmp_path, modalities=modalities, route_to="gateway") as orthanc:
        peer = Peer("ORTHANC", "127.0.0.1", orthanc.port, "GATEWAY")
        assert echo(peer) > 0
        results = list(StoreScu(peer).send(paths))
        assert all(result.stored for result in results), results
        assert orthanc.sop_instance_uids() == uids(paths)
        deadline = time.monotonic() + 20
        while received(station) != uids(paths):
            assert time.monotonic() < deadline, "Orthanc did not send everything on"
            time.sleep(0.1)
    sent = {p.read_bytes()[read_instance(p).offset :] for p in paths}
    assert {item.data for item in station.spool.stored} & sent
    assert {item.arrival.calling_ae for item in station.spool.stored} == {"ORTHANC"}
