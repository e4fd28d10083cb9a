"""One process per role and data folder."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.events.lease import Lease, holder

_HOLDER = """
import sys, time
from pathlib import Path
from gateway.events.lease import Lease
Lease(Path(sys.argv[1]), "scheduler").acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_one_data_folder_has_one_process_of_a_role(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Refused, match=f"process {process.pid} already has the role scheduler"):
            Lease(tmp_path, "scheduler").acquire()
        with Lease(tmp_path, "scp"):
            pass
        assert holder(tmp_path, "scheduler") == process.pid
        # The file is there, but nobody holds it.
        assert (tmp_path / "scp.lock").exists()
        assert holder(tmp_path, "scp") is None
        assert holder(tmp_path, "api") is None
    finally:
        process.kill()
        process.communicate()
    with Lease(tmp_path, "scheduler"):
        pass


def test_a_look_takes_the_role_from_nobody(tmp_path: Path) -> None:
    """Looks come at any time; a process that starts meanwhile must get its role."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path, "scp")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for thread in lookers:
        thread.start()
    try:
        for _ in range(200):
            with Lease(tmp_path, "scp"):
                pass
    finally:
        stop.set()
        for thread in lookers:
            thread.join()
