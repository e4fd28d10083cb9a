"""A real Orthanc as PACS, with its own configuration, on ephemeral ports.

Orthanc 1.10 cannot be bound to one address: its REST side refuses callers that are not local, its
DICOM side refuses other called AE titles.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.programs import START_SECONDS, free_port, program, running

_ROUTE_BACK = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin['RequestOrigin'] == 'DicomProtocol' then
    SendToModality(instanceId, '%s')
  end
end
"""


class OrthancPeer:
    """A running Orthanc: its DICOM side is ``aet`` at ``port``, its REST side ``http_port``."""

    def __init__(self, aet: str, port: int, http_port: int) -> None:
        self.aet = aet
        self.port = port
        self.http_port = http_port
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{http_port}", trust_env=False, timeout=20
        )

    def get(self, path: str) -> Any:
        """A REST resource, decoded."""
        answer = self._http.get(path)
        answer.raise_for_status()
        return answer.json()

    def instances(self) -> list[dict[str, Any]]:
        """The tags of everything stored, by keyword, in no order."""
        return [self.tags(identifier) for identifier in self.get("/instances")]

    def tags(self, instance: str) -> dict[str, Any]:
        """The tags of one instance (Orthanc's identifier), by keyword."""
        tags: dict[str, Any] = self.get(f"/instances/{instance}/simplified-tags")
        return tags

    def sop_instance_uids(self) -> list[str]:
        """Sorted SOP Instance UIDs of everything stored."""
        return sorted(tags["SOPInstanceUID"] for tags in self.instances())

    def file(self, instance: str) -> bytes:
        """The DICOM file of one instance (Orthanc's identifier)."""
        answer = self._http.get(f"/instances/{instance}/file")
        answer.raise_for_status()
        return answer.content

    def wait_for(self, count: int, timeout: float = 30.0) -> list[dict[str, Any]]:
        """The tags of everything stored once there are ``count`` instances or more."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if len(self.get("/instances")) >= count:
                return self.instances()
            time.sleep(0.1)
        raise TimeoutError(f"Orthanc holds {len(self.get('/instances'))} of {count} instances")

    def close(self) -> None:
        """Close the REST connection."""
        self._http.close()


@contextmanager
def running_orthanc(
    tmp_path: Path,
    *,
    aet: str = "ORTHANC",
    modalities: Mapping[str, tuple[str, int]] | None = None,
    route_to: str | None = None,
    settings: Mapping[str, Any] | None = None,
    port: int | None = None,
) -> Iterator[OrthancPeer]:
    """Orthanc with its storage below ``tmp_path``; started again there it has what it had.

    ``modalities`` maps a name to (AE title, port) on loopback; ``route_to`` names the one that
    everything received by DICOM is sent on to at once; ``settings`` are further keys of Orthanc's
    configuration; ``port`` is its DICOM port (None = a free one).
    """
    command = program("Orthanc")
    folder = tmp_path / f"orthanc-{aet}"
    folder.mkdir(parents=True, exist_ok=True)
    port, http_port = port or free_port(), free_port()
    configuration: dict[str, Any] = {
        "Name": aet,
        "DicomAet": aet,
        "DicomPort": port,
        "HttpPort": http_port,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {
            name: [title, "127.0.0.1", at] for name, (title, at) in (modalities or {}).items()
        },
        "Plugins": [],
        **(settings or {}),
    }
    if route_to is not None:
        script = folder / "route.lua"
        script.write_text(_ROUTE_BACK % route_to)
        configuration["LuaScripts"] = [str(script)]
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with running([command, str(file)], folder / "orthanc.log") as process:
        peer = OrthancPeer(aet, port, http_port)
        try:
            _wait_until_ready(peer, process.poll)
            yield peer
        finally:
            peer.close()


def _wait_until_ready(peer: OrthancPeer, poll: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if poll() is not None:
            raise RuntimeError(f"Orthanc ended with {poll()} before it was ready")
        try:
            peer.get("/system")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("Orthanc is not ready")
