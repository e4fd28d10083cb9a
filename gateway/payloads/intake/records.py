"""Records of the log as the rooms know them: instances, associations, what was not kept."""

from __future__ import annotations

from gateway.config.applications import AeConfig, Application
from gateway.payloads.arrived import Received
from gateway.payloads.associations import End, Opening
from gateway.payloads.head import Head
from gateway.payloads.intake.batch import Item
from gateway.payloads.intake.format import Record
from gateway.payloads.receiving import Arrival, Security


def arrival(record: Record) -> Arrival:
    """Where an instance came from."""
    return Arrival(**record.meta["a"])


def item(record: Record, config: AeConfig) -> Item:
    """An instance, with the application it was sent to.

    An AE title that has left the configuration gets the defaults: what was acknowledged is kept.
    """
    came = arrival(record)
    meta = record.meta
    received = Received(
        arrival=came,
        head=Head(**meta["h"]),
        path=meta["p"],
        size=meta["n"],
        digest=meta.get("d") or record.header.digest.hex(),
        received_at=meta["t"],
    )
    application = config.application(came.called_ae) or Application(ae_title=came.called_ae)
    return Item(received, application)


def opening(record: Record) -> Opening:
    """An association that was accepted or refused."""
    association_id, called, calling, host, port = record.meta["w"]
    tls = record.meta.get("s")
    security = Security(*tls) if tls else None
    return Opening(association_id, called, calling, host, port, record.meta["t"], security)


def end(record: Record) -> End:
    """How an association ended."""
    meta = record.meta
    return End("RELEASED" if meta["released"] else "ABORTED", meta["r"], meta["t"])
