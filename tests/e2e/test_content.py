"""Whatever is sent is stored as it was sent: transfer syntaxes, SOP classes, character sets."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    VideoEndoscopicImageStorage,
    generate_uid,
)

from gateway.dicom.files import read_instance
from tests.support.dcmtk import running_storescp, storescu
from tests.support.dicom import slice_
from tests.support.evidence import Kept, indexed
from tests.support.programs import program
from tests.support.site import Site, application, write

FIXTURES = Path(__file__).resolve().parents[1] / "dicom_fixtures"
PRIVATE_CLASS = "1.2.826.0.1.3680043.8.498.77.1"

# storescu's option to propose what the file is in.
OPTIONS = {
    ImplicitVRLittleEndian: "-xi",
    ExplicitVRLittleEndian: "-xe",
    ExplicitVRBigEndian: "-xb",
    DeflatedExplicitVRLittleEndian: "-xd",
    JPEGBaseline8Bit: "-xy",
    JPEGLosslessSV1: "-xs",
    JPEGLSLossless: "-xt",
    JPEG2000Lossless: "-xv",
    RLELossless: "-xr",
}
SYNTAXES = [*OPTIONS, HTJ2KLossless, MPEG4HP41]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # An instance sent twice is kept once per called AE title: each sender has its own.
    titles = ["OWN", "DCMTK", *(f"REAL{n}" for n in range(60))]
    made = Site(
        tmp_path_factory.mktemp("content"),
        applications=[application(**{"ae-title": title}) for title in titles],
        pipelines=[],
    )
    made.start()
    yield made
    assert made.stop() == 0


def image(bits: int = 16) -> Dataset:
    """A slice with something in it to compress."""
    size = 32
    step = bits // 8
    pixels = bytes(
        (row * column // 4) % 251 for row in range(size) for column in range(step * size)
    )
    changes = {"Rows": size, "Columns": size, "PixelRepresentation": 0, "PixelData": pixels}
    depth = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    return slice_(**changes, **depth, SeriesInstanceUID=generate_uid())


def save(ds: Dataset, path: Path, syntax: str) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    return path


def encoded(tool: str, *options: str) -> Callable[[Path, str], Path]:
    """Make with one of DCMTK's encoders."""

    def make(path: Path, _syntax: str) -> Path:
        bits = 8 if "+eb" in options else 16
        plain = save(image(bits), path.with_suffix(".plain"), ExplicitVRLittleEndian)
        command = [program(tool), *options, str(plain), str(path)]
        subprocess.run(command, check=True, timeout=30, capture_output=True)
        return path

    return make


def plain(path: Path, syntax: str) -> Path:
    return save(image(), path, syntax)


def compressed(path: Path, syntax: str) -> Path:
    ds = image()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    return path


def streams(*frames: bytes, **changes: object) -> Callable[[Path, str], Path]:
    """Encapsulate bitstreams that nothing here could make or decode; the gateway need not."""

    def make(path: Path, syntax: str) -> Path:
        ds = slice_(**changes, SeriesInstanceUID=generate_uid())
        ds.PixelData = encapsulate(list(frames), has_bot=len(frames) > 1)
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        return save(ds, path, syntax)

    return make


MAKERS: dict[str, Callable[[Path, str], Path]] = {
    ImplicitVRLittleEndian: plain,
    ExplicitVRLittleEndian: plain,
    ExplicitVRBigEndian: plain,
    DeflatedExplicitVRLittleEndian: plain,
    JPEGBaseline8Bit: encoded("dcmcjpeg", "+eb"),
    JPEGLosslessSV1: encoded("dcmcjpeg", "+e1"),
    JPEGLSLossless: encoded("dcmcjpls", "+el"),
    JPEG2000Lossless: compressed,
    RLELossless: encoded("dcmcrle"),
    HTJ2KLossless: streams(b"\xff\x4f\xff\x51" + bytes(range(250)) * 3 + b"\xff\xd9"),
    MPEG4HP41: streams(
        b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 300,
        SOPClassUID=VideoEndoscopicImageStorage,
        Modality="ES",
        NumberOfFrames=25,
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("syntaxes")
    return {uid: make(folder / f"{uid}.dcm", uid) for uid, make in MAKERS.items()}


def data_set(path: Path) -> bytes:
    """The data set's bytes of a DICOM file, without its meta information."""
    instance = read_instance(path)
    return path.read_bytes()[instance.offset :]


def check_kept(found: Kept, file: Path) -> None:
    """The spooled data set, its record and its meta information are those of ``file``."""
    expected = read_instance(file)
    assert data_set(found.file) == data_set(file)
    assert found.syntax == expected.transfer_syntax_uid
    assert found.sop_class == expected.sop_class_uid
    here = read_instance(found.file)
    assert here.transfer_syntax_uid == expected.transfer_syntax_uid
    assert here.sop_class_uid == expected.sop_class_uid


def check_own(site: Site, path: Path, called: str = "OWN") -> None:
    """Send a file with our own sender; the gateway must hold exactly its bytes."""
    (sent,) = site.send([path], called=called)
    assert sent.status == 0, sent
    check_kept(indexed(site, called, read_instance(path).sop_instance_uid), path)


@pytest.mark.peers
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_every_transfer_syntax_from_our_sender(
    site: Site, made: dict[str, Path], syntax: str
) -> None:
    assert read_instance(made[syntax]).transfer_syntax_uid == syntax
    check_own(site, made[syntax])


@pytest.mark.peers
def test_every_transfer_syntax_that_dcmtk_sends(
    site: Site, made: dict[str, Path], tmp_path: Path
) -> None:
    with running_storescp(tmp_path, options=["+xa"]) as reference:
        for syntax, option in OPTIONS.items():
            for port, called in ((reference.port, reference.aet), (site.ports["dicom"], "DCMTK")):
                sent = storescu([made[syntax]], port, called, "CT1", ["-R", option])
                assert sent.returncode == 0, (syntax, sent.stderr)
        # DCMTK writes a data set anew before it sends it: what it sent is what its own receiver
        # kept bit by bit.
        expected = {read_instance(f).sop_instance_uid: f for f in reference.files()}
    assert len(expected) == len(OPTIONS)
    assert {read_instance(f).transfer_syntax_uid for f in reference.files()} == set(OPTIONS)
    for uid, file in expected.items():
        check_kept(indexed(site, "DCMTK", uid), file)


def enhanced_ct() -> Dataset:
    """Three frames whose geometry is in functional groups only."""
    ds = slice_(SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=3, PixelData=bytes(3 * 128))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.7], 2.5
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number in range(3):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2.5 * number]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return ds


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_enhanced_multi_frame_ct(site: Site, tmp_path: Path, syntax: str) -> None:
    check_own(site, save(enhanced_ct(), tmp_path / "enhanced.dcm", syntax))


def test_a_private_sop_class(site: Site, tmp_path: Path) -> None:
    ds = slice_(SOPClassUID=PRIVATE_CLASS)
    ds.add_new(0x00291010, "LO", "ACME")
    ds.add_new(0x00291011, "UN", b"\x00\x01odd bytes\xff")
    check_own(site, write(ds, tmp_path / "private.dcm"))


@pytest.mark.parametrize("name", ["iso2022-jp.dcm", "gb18030.dcm"])
def test_names_in_other_scripts(site: Site, name: str) -> None:
    check_own(site, FIXTURES / name)


@pytest.mark.peers
def test_names_in_other_scripts_from_dcmtk(site: Site, tmp_path: Path) -> None:
    files = [FIXTURES / "iso2022-jp.dcm", FIXTURES / "gb18030.dcm"]
    with running_storescp(tmp_path) as reference:
        for port, called in ((reference.port, reference.aet), (site.ports["dicom"], "DCMTK")):
            sent = storescu(files, port, called, "CT1", ["-R"])
            assert sent.returncode == 0, sent.stderr
        expected = {read_instance(f).sop_instance_uid: f for f in reference.files()}
        for uid, file in expected.items():
            check_kept(indexed(site, "DCMTK", uid), file)


@pytest.mark.data
def test_real_files_in_every_syntax_and_script(site: Site, data: Path, tmp_path: Path) -> None:
    for archive in (
        "transfer-syntaxes/ct-one-slice-15-syntaxes",
        "transfer-syntaxes/nema-raw-vs-htj2k",
        "charsets/charsets-a",
        "enhanced-multiframe/enhanced",
    ):
        with tarfile.open(data / f"{archive}.tar.gz") as tar:
            tar.extractall(tmp_path, filter="data")
    files = sorted(f for f in tmp_path.rglob("*") if f.is_file())
    assert len(files) == 44
    for number, file in enumerate(files):
        (sent,) = site.send([file], called=f"REAL{number}")
        assert sent.status == 0, sent
    for number, file in enumerate(files):
        check_kept(indexed(site, f"REAL{number}", read_instance(file).sop_instance_uid), file)
