from __future__ import annotations

import re

import pytest
from pydicom._uid_dict import UID_dictionary

from gateway.config.applications import Accept, Application
from gateway.dicom import pdu
from gateway.dicom.negotiation import Agreement, negotiate
from gateway.dicom.pdu import ContextResult, Role, UserInformation
from gateway.dicom.policy import Admission
from gateway.dicom.sop_classes import STORAGE_COMMITMENT, VERIFICATION, Kind, kind
from tests.support.dicompeer import request

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ECHO = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"


def ask(
    *contexts: tuple[str, list[str]],
    accept: Accept | None = None,
    stores: bool = True,
    user: UserInformation | None = None,
) -> Agreement:
    asked = request(contexts, user=user or UserInformation(max_pdu=16384))
    application = Application(ae_title="AI", accept=accept or Accept())
    return negotiate(asked, Admission(application, stores=stores), 131072)


def results(agreement: Agreement) -> list[int]:
    return [context.result for context in agreement.answer.contexts]


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (CT, Kind.STORAGE),
        ("1.2.840.10008.5.1.1.29", Kind.STORAGE),  # Hardcopy Grayscale Image Storage, retired
        ("1.2.840.10008.5.1.4.1.1.40", Kind.STORAGE),  # retired, without a name
        ("1.2.840.10008.5.1.4.38.1", Kind.STORAGE),  # Hanging Protocol Storage
        ("1.2.840.10008.5.1.4.1.1.88.1", Kind.STORAGE),  # Text SR Storage - Trial
        ("1.2.840.113619.4.26", Kind.STORAGE),  # GE private
        ("1.2.840.10008.5.1.4.1.1.999", Kind.STORAGE),  # younger than this program
        (ECHO, Kind.VERIFICATION),
        ("1.2.840.10008.1.20.1", Kind.COMMITMENT),  # Storage Commitment
        ("1.2.840.10008.1.3.10", Kind.OTHER),  # Media Storage Directory
        ("1.2.840.10008.5.1.4.1.2.2.1", Kind.OTHER),  # Study Root Query
        ("1.2.840.10008.5.1.1.9", Kind.OTHER),  # Basic Grayscale Print
        (EXPLICIT, Kind.OTHER),  # a transfer syntax
        ("", Kind.OTHER),
        ("1.2.a", Kind.OTHER),
    ],
)
def test_what_is_for_storage(uid: str, expected: Kind) -> None:
    assert kind(uid) is expected


def test_the_senders_first_transfer_syntax_is_taken() -> None:
    agreement = ask((CT, [JPEG, EXPLICIT, IMPLICIT]), (CT, ["1.2.3.4.5.6.7"]), (CT, ["bad", JPEG]))
    assert results(agreement) == [0, 0, 0]
    syntaxes = [context.transfer_syntax for context in agreement.answer.contexts]
    assert syntaxes == [JPEG, "1.2.3.4.5.6.7", JPEG]
    assert agreement.contexts[1].transfer_syntax == JPEG


def test_contexts_that_are_refused_say_why() -> None:
    agreement = ask(
        ("1.2.840.10008.5.1.4.1.2.2.1", [IMPLICIT]),
        (CT, []),
        (MR, [IMPLICIT]),
        (CT, [IMPLICIT]),
        (ECHO, [IMPLICIT]),
        accept=Accept(sop_classes=[CT]),
    )
    assert results(agreement) == [
        ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED,
        ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED,
        ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED,
        ContextResult.ACCEPTED,
        ContextResult.ACCEPTED,
    ]
    assert sorted(agreement.contexts) == [7, 9]


def test_an_ignored_class_gets_its_context() -> None:
    accept = Accept(sop_classes=[CT], ignore_sop_classes=[MR])
    assert results(ask((MR, [IMPLICIT]), accept=accept)) == [ContextResult.ACCEPTED]


def test_who_may_not_store_may_echo() -> None:
    assert results(ask((CT, [IMPLICIT]), (ECHO, [IMPLICIT]), stores=False)) == [3, 0]


def test_roles_and_asynchronous_operations() -> None:
    user = UserInformation(
        asynchronous=(8, 8), roles=(Role(CT, scu=True, scp=True), Role(MR, scu=False, scp=True))
    )
    agreement = ask((CT, [IMPLICIT]), (MR, [IMPLICIT]), user=user)
    assert results(agreement) == [0, ContextResult.USER_REJECTION]
    assert agreement.answer.user.roles == (Role(CT, scu=True, scp=False),)
    assert agreement.answer.user.asynchronous == (1, 1)
    assert ask((CT, [IMPLICIT])).answer.user.asynchronous is None


def test_the_answer_survives_its_encoding() -> None:
    user = UserInformation(asynchronous=(0, 0), roles=(Role(CT, scu=True, scp=False),))
    answer = ask((CT, [JPEG]), (MR, [IMPLICIT]), user=user).answer
    encoded = pdu.encode_accept(answer)
    assert pdu.decode_accept(memoryview(encoded)[6:]) == answer
    assert answer.user.max_pdu == 131072


def test_registered_uids_are_what_their_names_say() -> None:
    services = ("Media Storage Directory Storage", "Storage Commitment Pull Model SOP Class")
    special = {VERIFICATION: Kind.VERIFICATION, STORAGE_COMMITMENT: Kind.COMMITMENT}
    for uid, (name, sort, *_) in UID_dictionary.items():
        # Retired ones that lost their name were for storage (1.2.840.10008.5.1.4.1.1.12.77).
        named = not name or (sort == "SOP Class" and re.search(r"\bStorage\b", name))
        wanted = Kind.STORAGE if named and name not in services else Kind.OTHER
        assert kind(uid) is special.get(uid, wanted), name
