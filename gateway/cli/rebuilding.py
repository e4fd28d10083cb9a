"""``gateway doctor --rebuild-index``: a lost index made again from the files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from gateway.cli.doctor import Finding


def rebuild_index(config_file: Path | None) -> Iterator[Finding]:
    """Bring in the intake log, then index every file that the index lacks.

    Raises ConfigError for bad files, Refused while a gateway runs on the data-dir.
    """
    from gateway.app import ROLES
    from gateway.config import settings
    from gateway.config.live import LiveAeConfig
    from gateway.database.engine import Database, sqlite_url
    from gateway.dicom.receivers import how_many
    from gateway.events.lease import Lease
    from gateway.events.wake import Wakeups
    from gateway.payloads.folders import Folders
    from gateway.payloads.intake.intake import Intake
    from gateway.payloads.rebuild import rebuild

    found = settings.load(config_file)
    folders = Folders(found.data_dir.resolve())
    folders.create()
    with ExitStack() as stack:
        for role in ROLES:
            stack.enter_context(Lease(folders.root, role))
        database = Database(found.database.url or sqlite_url(folders.database))
        stack.callback(database.close)
        database.create()
        live = LiveAeConfig(found.ae_config)
        power = found.dicom.durability == "power"
        intake = Intake(
            database, folders, live, Wakeups(), power=power, receivers=how_many(), slots=1
        )
        stack.callback(intake.stop)
        result = rebuild(database, folders, live.current)
    yield Finding("index", True, f"{result.known} files were in the index")
    yield Finding(
        "rebuilt",
        result.foreign == 0,
        f"{result.indexed} instances indexed, {result.quarantined} set aside, "
        f"{result.foreign} files do not say how they arrived and were left",
    )
    if result.payloads:
        detail = (
            f"{result.payloads} payloads rest in UNMATCHED; reroute those still to be processed"
        )
        yield Finding("payloads", True, detail)
