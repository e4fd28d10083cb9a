"""DCMTK's query/retrieve server as a peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import free_port, program, running, wait_for_port

_CONFIG = """
NetworkTCPPort = {port}
MaxPDUSize = 65536
MaxAssociations = 16
HostTable BEGIN
{hosts}
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QR {folder} RW (100, 1024mb) ANY
AETable END
"""


@contextmanager
def running_dcmqrscp(tmp_path: Path, move_targets: Mapping[str, int]) -> Iterator[int]:
    """``dcmqrscp`` as AE title QR on loopback, knowing these targets of C-MOVE; yields its port."""
    command = program("dcmqrscp")
    port, folder = free_port(), tmp_path / "qr"
    folder.mkdir()
    hosts = "\n".join(f"{ae.lower()} = ({ae}, 127.0.0.1, {at})" for ae, at in move_targets.items())
    file = tmp_path / "dcmqrscp.cfg"
    file.write_text(_CONFIG.format(port=port, hosts=hosts, folder=folder))
    with running([command, "-c", str(file)], tmp_path / "dcmqrscp.log") as process:
        wait_for_port(port, process)
        yield port
