"""One process per role and data folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.events.lease import Lease

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
    finally:
        process.kill()
        process.communicate()
    with Lease(tmp_path, "scheduler"):
        pass
