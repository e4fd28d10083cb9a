"""Data sets as strangers write them, by bytes, through a whole gateway.

Each is stored as it was sent or refused with the right status, its bytes kept in the quarantine;
none ends the association, the gateway or the images of others.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.charset import python_encoding

from gateway.dicom import dimse
from tests.support.dicompeer import Parrot, p_data, pdv, request, store_command
from tests.support.evidence import kept, rows
from tests.support.processes import peaks
from tests.support.site import Site, application

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
STORED, REFUSED = 0x0000, 0xC000
LONG = {"OB", "OW", "SQ", "UN", "UT"}
UNDEFINED = 0xFFFFFFFF
END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
END_ITEM = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)


def element(tag: int, vr: str, value: bytes | str, length: int | None = None) -> bytes:
    """Explicit VR Little Endian, padded only if the caller did; ``length`` may lie."""
    raw = value.encode("latin-1") if isinstance(value, str) else value
    told = len(raw) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr in LONG:
        return head + struct.pack("<xxL", told) + raw
    return head + struct.pack("<H", told) + raw


def even(text: str) -> str:
    return text + "\0" * (len(text) % 2)


def parts(uid: str, sop_class: str = CT) -> dict[int, bytes]:
    """A small CT slice by tag; callers replace, add and remove."""
    values: list[tuple[int, str, str | bytes]] = [
        (0x00080016, "UI", even(sop_class)),
        (0x00080018, "UI", even(uid)),
        (0x00080060, "CS", "CT"),
        (0x00100010, "PN", "Odd^Content "),
        (0x00100020, "LO", "ODD1"),
        (0x0020000D, "UI", even("1.2.826.0.1.77")),
        (0x0020000E, "UI", even("1.2.826.0.1.77.1")),
        (0x00200013, "IS", "1 "),
        (0x7FE00010, "OW", bytes(64)),
    ]
    return {tag: element(tag, vr, value) for tag, vr, value in values}


def joined(made: dict[int, bytes]) -> bytes:
    return b"".join(made[tag] for tag in sorted(made))


@dataclass
class Case:
    """One data set, what its command says, and the statuses that are right."""

    data: bytes
    statuses: tuple[int, ...] = (STORED,)
    sop_class: str = CT
    syntax: str = EXPLICIT
    instance: str | None = None
    command: bytes | None = None


Make = Callable[[str], Case]
CASES: dict[str, Make] = {}


def case(make: Make) -> Make:
    CASES[make.__name__] = make
    return make


def changed(uid: str, *statuses: int, without: int | None = None, **elements: bytes) -> Case:
    made = parts(uid)
    if without is not None:
        del made[without]
    made |= {int(key[1:], 16): value for key, value in elements.items()}
    return Case(joined(made), statuses or (STORED,))


@case
def odd_length_uid(uid: str) -> Case:
    odd = uid if len(uid) % 2 else uid + "1"
    made = parts(odd) | {0x00080018: element(0x00080018, "UI", odd)}
    return Case(joined(made), instance=odd)


@case
def odd_length_name(uid: str) -> Case:
    return changed(uid, t00100010=element(0x00100010, "PN", "Odd"))


@case
def uid_padded_with_a_space(uid: str) -> Case:
    odd = uid if len(uid) % 2 else uid + "1"
    return Case(
        joined(parts(odd) | {0x00080018: element(0x00080018, "UI", odd + " ")}), instance=odd
    )


@case
def zero_length_values(uid: str) -> Case:
    made = parts(uid)
    for tag, vr in (
        (0x00080005, "CS"), (0x00080020, "DA"), (0x00080050, "SH"), (0x00080060, "CS"),
        (0x00081140, "SQ"), (0x00100010, "PN"), (0x00100020, "LO"), (0x00180050, "DS"),
        (0x00200013, "IS"), (0x00200032, "DS"), (0x00280030, "DS"), (0x7FE00010, "OW"),
    ):  # fmt: skip
        made[tag] = element(tag, vr, "")
    return Case(joined(made))


@case
def group_lengths(uid: str) -> Case:
    made = parts(uid)
    for group in (0x0008, 0x0010, 0x0020, 0x7FE0):
        size = sum(len(value) for tag, value in made.items() if tag >> 16 == group)
        made[group << 16] = element(group << 16, "UL", struct.pack("<L", size))
    return Case(joined(made))


@case
def wrong_group_lengths(uid: str) -> Case:
    lies = {f"t{g << 16:08X}": element(g << 16, "UL", b"\xff\xff\xff\x7f") for g in (8, 16, 32)}
    return changed(uid, **lies)


@case
def undefined_length_sequences(uid: str) -> Case:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    inner = element(0x00081150, "UI", even(CT)) + element(0x00081155, "UI", even("1.2.3"))
    nested = element(0x00081140, "SQ", item + inner + END_ITEM + END, UNDEFINED)
    whole = element(0x00081115, "SQ", item + nested + END_ITEM + item + END_ITEM + END, UNDEFINED)
    return changed(uid, t00081115=whole)


def nested(levels: int) -> bytes:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    head = element(0x00081140, "SQ", item, UNDEFINED)
    return head * levels + (END_ITEM + END) * levels


@case
def sequences_in_sequences(uid: str) -> Case:
    return changed(uid, t00081140=nested(30))


@case
def sequences_without_end(uid: str) -> Case:
    return changed(uid, STORED, REFUSED, t00081140=nested(20_000))


@case
def a_sequence_that_never_ends(uid: str) -> Case:
    open_ended = element(
        0x00081140, "SQ", struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED), UNDEFINED
    )
    return changed(uid, STORED, REFUSED, t00081140=open_ended)


@case
def unknown_of_undefined_length(uid: str) -> Case:
    # PS3.5 6.2.2: its items are in Implicit VR.
    item = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    inner = struct.pack("<HHL", 0x0009, 0x1002, 4) + b"abcd"
    value = item + inner + END_ITEM + END
    creator = element(0x00090010, "LO", "ACME")
    return changed(uid, t00090010=creator, t00091001=element(0x00091001, "UN", value, UNDEFINED))


@case
def encapsulated_without_end(uid: str) -> Case:
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE000, 4)
    pixels = element(0x7FE00010, "OB", fragments + b"abcd", UNDEFINED)
    made = changed(uid, t7FE00010=pixels)
    made.syntax = "1.2.840.10008.1.2.4.50"
    return made


@case
def no_pixel_data(uid: str) -> Case:
    return changed(uid, without=0x7FE00010)


@case
def pixel_data_cut_off(uid: str) -> Case:
    return changed(uid, t7FE00010=element(0x7FE00010, "OW", bytes(10), 1000))


@case
def cut_off_in_a_header(uid: str) -> Case:
    return changed(uid, STORED, REFUSED, t00280010=b"\x28\x00\x10", without=0x7FE00010)


@case
def cut_off_before_its_uids(uid: str) -> Case:
    return Case(joined(parts(uid))[:60], (REFUSED,))


@case
def empty(uid: str) -> Case:
    return Case(b"", (REFUSED,))


@case
def noise(uid: str) -> Case:
    return Case(hashlib.shake_128(uid.encode()).digest(3000), (REFUSED,))


@case
def an_endless_element_before_its_uids(uid: str) -> Case:
    return changed(uid, REFUSED, t00080005=element(0x00080001, "UN", b"", 0xFFFFFFFE))


@case
def no_instance_uid(uid: str) -> Case:
    return changed(uid, REFUSED, without=0x00080018)


@case
def no_study_uid(uid: str) -> Case:
    return changed(uid, REFUSED, without=0x0020000D)


@case
def an_empty_series_uid(uid: str) -> Case:
    return changed(uid, REFUSED, t0020000E=element(0x0020000E, "UI", ""))


@case
def an_empty_class_uid(uid: str) -> Case:
    return changed(uid, REFUSED, t00080016=element(0x00080016, "UI", ""))


@case
def a_study_uid_that_is_none(uid: str) -> Case:
    return changed(uid, REFUSED, t0020000D=element(0x0020000D, "UI", "../../etc"))


@case
def a_study_uid_that_is_too_long(uid: str) -> Case:
    return changed(uid, REFUSED, t0020000D=element(0x0020000D, "UI", "1." * 40))


@case
def another_instance_than_the_command(uid: str) -> Case:
    return changed(uid, REFUSED, t00080018=element(0x00080018, "UI", even("1.2.3.4")))


@case
def another_class_than_the_command(uid: str) -> Case:
    other = element(0x00080016, "UI", even("1.2.840.10008.5.1.4.1.1.4"))
    return changed(uid, REFUSED, t00080016=other)


@case
def an_instance_twice_in_one_data_set(uid: str) -> Case:
    made = parts(uid)
    made[0x00080018] += element(0x00080018, "UI", even("1.2.3.4"))
    return Case(joined(made), (STORED, REFUSED))


@case
def a_command_without_instance(uid: str) -> Case:
    return Case(joined(parts(uid)), (REFUSED,), command=store_command(e1000=b"absent"))


@case
def a_command_whose_class_is_not_its_contexts(uid: str) -> Case:
    other = store_command(uid, "1.2.840.10008.5.1.4.1.1.4")
    return Case(joined(parts(uid)), (dimse.SOP_CLASS_NOT_SUPPORTED,), command=other)


@case
def elements_out_of_order(uid: str) -> Case:
    made = parts(uid)
    pixels = made.pop(0x7FE00010)
    return Case(b"".join(made[tag] for tag in sorted(made, reverse=True)) + pixels)


@case
def uids_after_the_pixels(uid: str) -> Case:
    made = parts(uid)
    study = made.pop(0x0020000D)
    return Case(joined(made) + study, (STORED, REFUSED))


@case
def a_vr_nobody_knows(uid: str) -> Case:
    return changed(uid, STORED, REFUSED, t00091001=element(0x00091001, "ZZ", "ab"))


@case
def a_vr_that_is_no_letters(uid: str) -> Case:
    strange = struct.pack("<HH", 0x0009, 0x1001) + b"\0\1" + struct.pack("<H", 2) + b"ab"
    return changed(uid, STORED, REFUSED, t00091001=strange)


@case
def an_identifier_as_long_as_it_gets(uid: str) -> Case:
    return changed(uid, t00100020=element(0x00100020, "LO", "9" * 65534))


@case
def an_identifier_with_control_characters(uid: str) -> Case:
    return changed(uid, t00100020=element(0x00100020, "LO", "A\0B\x1b[2J\r\nC "))


@case
def numbers_that_are_none(uid: str) -> Case:
    return changed(
        uid,
        t00200013=element(0x00200013, "IS", "one "),
        t00200032=element(0x00200032, "DS", "nan\\inf\\1e999 "),
        t00280030=element(0x00280030, "DS", "1\\2\\3\\4 "),
        t00180050=element(0x00180050, "DS", "1,5 "),
    )


@case
def a_retired_class(uid: str) -> Case:
    retired = "1.2.840.10008.5.1.4.1.1.6"
    return Case(joined(parts(uid, retired)), sop_class=retired)


@case
def a_retired_syntax(uid: str) -> Case:
    made = changed(uid)
    made.syntax = "1.2.840.10008.1.2.4.53"
    return made


@case
def a_private_syntax(uid: str) -> Case:
    made = changed(uid)
    made.syntax = "1.2.826.0.1.3680043.8.498.99"
    made.statuses = (STORED, REFUSED)
    return made


@case
def explicit_where_implicit_was_agreed(uid: str) -> Case:
    made = changed(uid, STORED, REFUSED)
    made.syntax = IMPLICIT
    return made


@case
def little_endian_where_big_was_agreed(uid: str) -> Case:
    made = changed(uid, REFUSED)
    made.syntax = BIG
    return made


@case
def plain_where_deflated_was_agreed(uid: str) -> Case:
    made = changed(uid, STORED, REFUSED)
    made.syntax = DEFLATED
    return made


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@case
def deflated_and_cut_off(uid: str) -> Case:
    packed = deflated(joined(parts(uid)))
    return Case(packed[: len(packed) // 2], (STORED, REFUSED), syntax=DEFLATED)


@case
def file_meta_within_the_data_set(uid: str) -> Case:
    meta = element(0x00020010, "UI", even(EXPLICIT))
    return Case(meta + joined(parts(uid)), (STORED, REFUSED))


@case
def a_whole_file_as_data_set(uid: str) -> Case:
    return Case(bytes(128) + b"DICM" + joined(parts(uid)), (STORED, REFUSED))


@case
def padding_after_the_data_set(uid: str) -> Case:
    return changed(uid, tFFFCFFFC=element(0xFFFCFFFC, "OB", bytes(2000)))


@case
def command_elements_within_the_data_set(uid: str) -> Case:
    return changed(uid, STORED, REFUSED, t00000002=element(0x00000002, "UI", even("1.2.3")))


NAMES = {
    "iso8859": "Jérôme^Ünïcøde".encode("latin-1"),
    "cyrillic": "\u041b\u044e\u043a\u0441\u0435\u043c".encode("iso8859-5"),
    "greek": "Διονυσιος".encode("iso8859-7"),
    "arabic": "قباني^لنزار".encode("iso8859-6"),
    "hebrew": "שרון^דבורה".encode("iso8859-8"),
    "utf8": "Wang^XiaoDong=王^小東=".encode(),
    "gb18030": "Wang^XiaoDong=王^小东=".encode("gb18030"),
    "japanese": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
    "korean": b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
    "escape": b"A\x1b(J\x1b$@\x1b^B\x1b",
    "noise": bytes(range(0x80, 0x100)),
}
CHARACTER_SETS = [
    *(name for name in python_encoding if name),
    "ISO_IR 999",
    "\\ISO 2022 IR 87",
    "ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159",
    "\\ISO 2022 IR 149\\ISO 2022 IR 58",
    "ISO_IR 192\\ISO 2022 IR 87",
    "UTF-8",
    "\\\\\\",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("odd"), applications=[application()], pipelines=[])
    made.start()
    yield made
    assert made.stop() == 0


def answer(parrot: Parrot, uid: str, one: Case, context: int) -> int:
    """Send one case; returns its status."""
    command = one.command or store_command(one.instance or uid, one.sop_class)
    pieces = [one.data[at : at + 50_000] for at in range(0, len(one.data), 50_000)] or [b""]
    parrot.say(p_data(pdv(context, command, command=True)))
    for number, piece in enumerate(pieces):
        parrot.say(p_data(pdv(context, piece, last=number == len(pieces) - 1)))
    status = parrot.response().number(0x0900)
    assert status is not None
    return status


def send(site: Site, uid: str, one: Case) -> int:
    """Send one case over an association of its own, and prove that it still works."""
    parrot = Parrot(site.ports["dicom"])
    wanted = request([(one.sop_class, [one.syntax]), (CT, [EXPLICIT])])
    parrot.associate(wanted)
    status = answer(parrot, uid, one, 1)
    after = f"{uid}.9"
    assert answer(parrot, after, Case(joined(parts(after))), 3) == STORED
    parrot.release()
    return status


def quarantined(site: Site) -> set[Path]:
    """The files in the quarantine."""
    return {site.data / path for (path,) in rows(site, "SELECT path FROM quarantine")}


def check(site: Site, uid: str, one: Case) -> None:
    before = quarantined(site)
    status = send(site, uid, one)
    assert status in one.statuses, f"{status:04X}H"
    instance = one.instance or uid
    if status == STORED:
        # The record may follow the answer; the bytes are safe before it.
        found = site.wait(lambda: kept(site, "AI").get(instance), 10)
        assert found.file.read_bytes().endswith(one.data)
        assert found.syntax == one.syntax
        return
    if status == REFUSED:
        fresh = site.wait(lambda: set(quarantined(site)) - before, 10)
        (path,) = fresh
        assert path.read_bytes().endswith(one.data)
    assert instance not in kept(site, "AI")


@pytest.mark.parametrize("name", CASES)
def test_odd_content(site: Site, name: str) -> None:
    uid = f"1.2.826.0.1.88.{list(CASES).index(name)}.7"
    check(site, uid, CASES[name](uid))


def test_every_character_set_with_every_kind_of_text(site: Site) -> None:
    parrot = Parrot(site.ports["dicom"])
    parrot.associate(request([(CT, [EXPLICIT])]))
    sent = {}
    for number, (charset, name) in enumerate(
        (charset, name) for charset in CHARACTER_SETS for name in NAMES
    ):
        uid = f"1.2.826.0.1.99.{number}"
        raw = NAMES[name] + b" " * (len(NAMES[name]) % 2)
        told = charset + " " * (len(charset) % 2)
        one = changed(
            uid,
            t00080005=element(0x00080005, "CS", told),
            t00080050=element(0x00080050, "SH", raw[:16]),
            t00100010=element(0x00100010, "PN", raw),
            t00100020=element(0x00100020, "LO", raw),
        )
        assert answer(parrot, uid, one, 1) == STORED, (charset, name)
        sent[uid] = one.data
    parrot.release()
    site.wait(lambda: sent.keys() <= kept(site, "AI").keys(), 20)
    found = kept(site, "AI")
    for uid, data in sent.items():
        assert found[uid].file.read_bytes().endswith(data)
    # The records of all of them are readable, whatever their text was.
    assert site.items("payloads")


def test_a_deflate_bomb_costs_no_memory(site: Site) -> None:
    assert site.process is not None
    uid = "1.2.826.0.1.66"
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    made = parts(uid)
    del made[0x7FE00010]
    packed = packer.compress(joined(made) + element(0x7FE00010, "OB", b"", 1 << 30))
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    check(site, uid, Case(packed, (STORED, REFUSED), syntax=DEFLATED))
    peak = sum(peaks(site.process.pid))
    assert peak < 900_000, f"{peak} kB"


def test_the_gateway_is_well_after_all_of_it(site: Site) -> None:
    assert site.http is not None
    health = site.http.get("/health").json()
    assert health["status"] == "ok", health
    log = (site.root / "gateway.log").read_text()
    assert "Traceback" not in log
    assert "ODD1" not in log
