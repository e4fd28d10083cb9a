"""The conformance statement and the SCP say the same: the whole DICOM dictionary is proposed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from pydicom.uid import UID_dictionary

from gateway.dicom import pdu
from gateway.dicom.plan import MAX_CONTEXTS
from gateway.dicom.sop_classes import STORAGE_COMMITMENT, VERIFICATION
from gateway.dicom.upper_layer import State
from tests.support.dicompeer import Parrot, Station, request

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "conformance.md"
EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
PRIVATE = "1.2.826.0.1.3680043.8.498.77.1"


def rows(name: str) -> list[list[str]]:
    """The cells of a generated table of the page, without head."""
    text = PAGE.read_text("utf-8")
    found = re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- /generated -->", text, re.DOTALL)
    assert found is not None
    lines = [line for line in found[1].splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def proposed(station: Station, contexts: Sequence[tuple[str, list[str]]]) -> dict[int, str]:
    """Propose contexts, 128 at a time; returns index → accepted transfer syntax."""
    accepted: dict[int, str] = {}
    for start in range(0, len(contexts), MAX_CONTEXTS):
        parrot = Parrot(station.port)
        answer = parrot.associate(request(contexts[start : start + MAX_CONTEXTS]))
        for context in answer.contexts:
            if context.result == pdu.ContextResult.ACCEPTED:
                accepted[start + context.id // 2] = context.transfer_syntax
        parrot.release()
    return accepted


def accepts(station: Station, classes: Iterable[str]) -> set[str]:
    listed = list(classes)
    return {listed[i] for i in proposed(station, [(uid, [EXPLICIT]) for uid in listed])}


@pytest.fixture
def station(stations: Callable[..., Station]) -> Station:
    return stations()


def test_every_uid_of_the_dictionary_is_answered_as_the_page_says(station: Station) -> None:
    stated = {uid for _, uid, *_ in rows("conformance-storage-classes")}
    as_scp = {uid for _, uid, _, scp in rows("conformance-services") if uid and scp == "yes"}
    assert as_scp == {VERIFICATION, STORAGE_COMMITMENT}
    assert len(stated) > 150
    assert accepts(station, UID_dictionary) == stated | as_scp


def test_every_transfer_syntax_is_taken_for_storage(station: Station) -> None:
    stated = {uid for _, uid, received, *_ in rows("conformance-transfer-syntaxes")}
    # pynetdicom, where it is imported, adds syntaxes younger than the dictionary: taken as well.
    known = [uid for uid, (_, what, *_) in UID_dictionary.items() if what == "Transfer Syntax"]
    assert stated <= set(known)
    assert len(stated) > 50
    accepted = proposed(station, [(CT, [uid]) for uid in known])
    assert [accepted[i] for i in range(len(known))] == known


def test_private_and_unknown_uids_are_taken(station: Station) -> None:
    assert accepts(station, [PRIVATE, "1.2.840.10008.5.1.4.1.1.9999"]) == {
        PRIVATE,
        "1.2.840.10008.5.1.4.1.1.9999",
    }
    assert proposed(station, [(CT, [PRIVATE, EXPLICIT])]) == {0: PRIVATE}


def test_what_an_implied_called_ae_takes(station: Station) -> None:
    parrot = Parrot(station.port)
    wanted = request([(CT, [EXPLICIT]), (VERIFICATION, [EXPLICIT])], called="GATEWAY")
    assert [c.result for c in parrot.associate(wanted).contexts] == [3, 0]
    parrot.release()


def test_the_parameters_are_those_on_the_wire(station: Station) -> None:
    stated = dict(rows("conformance-implementation"))
    user = pdu.UserInformation(max_pdu=16384, asynchronous=(8, 8))
    parrot = Parrot(station.port)
    answer = parrot.associate(request(user=user)).user
    parrot.release()
    assert answer.implementation_class_uid == stated["Implementation Class UID"]
    assert answer.implementation_version == stated["Implementation Version Name"]
    assert stated["Largest P-DATA-TF received"].startswith(f"{answer.max_pdu} bytes")
    assert answer.asynchronous == (1, 1)
    assert stated["Asynchronous operations"].endswith("1, 1")


@pytest.mark.parametrize("row", rows("conformance-aborts"), ids=lambda row: row[0])
def test_the_aborts_are_those_on_the_wire(station: Station, row: list[str]) -> None:
    name, *answers = row
    kind = pdu.PduType[name] if name in pdu.PduType.__members__ else 0x42
    assert len(answers) == len(State)
    for state, stated in zip(State, answers, strict=True):
        found = re.fullmatch(r"A-ABORT (\d)/(\d)", stated)
        if found is None:
            continue
        parrot = Parrot(station.port)
        if state is State.ESTABLISHED:
            parrot.associate()
        parrot.say(pdu.HEADER.pack(kind, 4) + bytes(4))
        assert parrot.hear() == (pdu.PduType.ABORT, bytes((0, 0, int(found[1]), int(found[2]))))
        parrot.close()
