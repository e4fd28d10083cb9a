"""Blocks of the DICOM conformance statement (PS3.2), from the tables the code decides by."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.uid import UID, UID_dictionary

from reference.words import code, table


def _known(kind: str) -> Iterator[tuple[str, str, bool]]:
    """UIDs of one type in the DICOM dictionary, with name and whether they are retired."""
    for uid, (name, what, _, retired, _) in UID_dictionary.items():
        if what == kind:
            yield uid, name, bool(retired)


def implementation() -> str:
    """Who the gateway says it is, and its association parameters."""
    from gateway.config.settings import DicomSettings
    from gateway.dicom import pdu, plan

    settings = DicomSettings()
    return table(
        ("parameter", "value"),
        [
            ("Application Context Name", code(pdu.APPLICATION_CONTEXT)),
            ("Implementation Class UID", code(pdu.IMPLEMENTATION_CLASS_UID)),
            ("Implementation Version Name", code(pdu.IMPLEMENTATION_VERSION)),
            (
                "Largest P-DATA-TF received",
                f"{settings.max_pdu} bytes (`dicom.max-pdu`)",
            ),
            (
                "Associations at once, accepted",
                f"{settings.max_associations} (`dicom.max-associations`)",
            ),
            ("Presentation contexts, accepted", f"{settings.limits.contexts} at most"),
            (
                "Presentation contexts, proposed",
                f"{plan.MAX_CONTEXTS} at most; more go over further associations",
            ),
            ("Asynchronous operations", "one at a time; a proposal is answered 1, 1"),
        ],
    )


def services() -> str:
    """Services, and the role the gateway plays in each."""
    from gateway.dicom.query import MODELS
    from gateway.dicom.sop_classes import STORAGE_COMMITMENT, VERIFICATION

    asked = [
        (UID(uid), "yes", "no")
        for model in MODELS.values()
        for uid in (model.find, model.move, model.get)
    ]
    rows = [
        (UID(VERIFICATION), "yes", "yes"),
        (UID(STORAGE_COMMITMENT), "yes", "yes"),
        *asked,
    ]
    named = [[uid.name, code(uid), scu, scp] for uid, scu, scp in rows]
    return table(
        ("SOP class", "UID", "SCU", "SCP"),
        [*named, ["every storage SOP class, see below", "", "yes", "yes"]],
    )


def storage_classes() -> str:
    """Storage SOP classes of the dictionary that the SCP accepts, by the code that decides."""
    from gateway.dicom.sop_classes import Kind, kind

    rows = [
        [name, code(uid), "retired" if retired else ""]
        for uid, name, retired in _known("SOP Class")
        if kind(uid) is Kind.STORAGE
    ]
    return f"{len(rows)} classes of the standard:\n\n" + table(("SOP class", "UID", ""), rows)


def transfer_syntaxes() -> str:
    """Transfer syntaxes of the dictionary, and what the gateway does with each."""
    from gateway.dicom.transcode import UNCOMPRESSED, can_transcode

    rows = []
    for uid, name, retired in _known("Transfer Syntax"):
        also = uid in UNCOMPRESSED or can_transcode(uid)
        rows.append(
            [name, code(uid), "yes", "yes" if also else "as it is", "retired" if retired else ""]
        )
    head = ("transfer syntax", "UID", "received", "sent, falling back to uncompressed", "")
    return table(head, rows)


def aborts() -> str:
    """What the acceptor does with each PDU in each state (PS3.8 9.2)."""
    from gateway.dicom.pdu import PduType
    from gateway.dicom.upper_layer import TABLE, Action, State, violation

    words = {
        Action.NEGOTIATE: "A-ASSOCIATE-AC or -RJ",
        Action.DATA: "DIMSE",
        Action.RELEASE: "A-RELEASE-RP; A-ABORT 2/2 within a message",
        Action.PEER_ABORT: "the connection ends",
    }
    rows = []
    for kind in [*PduType, 0x42]:
        row = [PduType(kind).name if kind in PduType.__members__.values() else "unknown"]
        for state in State:
            known = isinstance(kind, PduType)
            action = TABLE[state, kind] if known else Action.UNRECOGNIZED
            fault = violation(state, kind)
            row.append(words.get(action, f"A-ABORT {fault.source}/{fault.reason}"))
        rows.append(row)
    return table(("PDU", *(state.value for state in State)), rows)


def character_sets() -> str:
    """Specific Character Sets that text attributes are decoded with for rules."""
    from pydicom.charset import python_encoding

    rows = [[code(name or "(none)"), code(codec)] for name, codec in python_encoding.items()]
    return table(("Specific Character Set (0008,0005)", "decoded as"), rows)


def tls_profile() -> str:
    """Protocol versions and cipher suites, asked of the library."""
    from gateway.config.tls import TlsSettings, caller_context

    context = caller_context(TlsSettings())
    suites = sorted((c["protocol"], c["name"]) for c in context.get_ciphers())
    rows = [[protocol, code(name)] for protocol, name in suites]
    return f"From {context.minimum_version.name} on.\n\n" + table(("protocol", "suite"), rows)
