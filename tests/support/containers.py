"""What tests of images in other projects' layouts run inside them: plain Python with pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gateway
from tests.support.podman import Podman, map_files, python, python_changes

# As a MONAI application does it: folders by environment, working folder by the manifest.
_MAP = """
import os, pathlib, sys, pydicom
assert os.environ["FROM_MANIFEST"] == "yes" and os.getcwd() == "/var/monai", os.getcwd()
assert os.environ["MONAI_MODELPATH"] == os.environ["HOLOSCAN_MODEL_PATH"] == "/opt/monai/models"
source, target = os.environ["MONAI_INPUTPATH"], os.environ["MONAI_OUTPUTPATH"]
assert source == os.environ["HOLOSCAN_INPUT_PATH"] and target == os.environ["HOLOSCAN_OUTPUT_PATH"]
files = sorted(pathlib.Path(source).rglob("*.dcm"))
assert files and len(files) == len(sorted(pathlib.Path("/var/monai/input").rglob("*.dcm")))
ds = pydicom.dcmread(files[0])
uid = "2.25." + str(int(os.environ["NVIDIA_CLARA_JOBID"], 16))
ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
ds.SeriesInstanceUID, ds.SeriesDescription = uid + ".1", "from MAP"
ds.InstanceNumber = len(files)
ds.save_as(pathlib.Path(target, "result.dcm"))
print("application ran")
"""

# As a mercure module does it: a flat folder, names as keys, task.json, result.json.
_MERCURE = """
import json, os, pathlib, pydicom
source, target = (pathlib.Path(os.environ["MERCURE_" + w + "_DIR"]) for w in ("IN", "OUT"))
task = json.loads((source / "task.json").read_text())
settings = task["process"]["settings"]
assert settings["threshold"] == 3 and settings["kept"] == "yes", settings
series = {}
for entry in os.scandir(source):
    if entry.name.endswith(".dcm"):
        series_uid, sop_uid = entry.name[:-4].split("#")
        ds = pydicom.dcmread(entry.path)
        assert (ds.SeriesInstanceUID, ds.SOPInstanceUID) == (series_uid, sop_uid)
        series.setdefault(series_uid, []).append(ds)
    else:
        assert entry.name == "task.json", entry.name
(uid,) = series
assert (task["info"]["uid_type"], task["info"]["uid"]) == ("series", uid)
assert task["info"]["mrn"] == series[uid][0].PatientID
ds = series[uid][0]
new = "2.25." + str(int(task["id"], 16))
ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = new
ds.SeriesInstanceUID, ds.SeriesDescription = new + ".2", "from mercure"
ds.InstanceNumber = len(series[uid])
ds.save_as(target / (new + ".2#" + new + ".dcm"))
found = {"volume": 7, "__mercure_notification": {"text": "look", "requested": True}}
(target / "result.json").write_text(json.dumps(found))
"""


def make_images(podman: Podman) -> None:
    """``map``, ``mercure`` and ``register-results``, tag 1, all below ``localhost/test``."""
    base, changes = python(), python_changes()
    package = Path(gateway.__file__).parent
    ours = "/usr/local/lib/gateway"
    files: dict[str, Any] = base | map_files("python /opt/monai/app/app.py")
    files |= {
        "/opt/monai/app/app.py": _MAP,
        "/var/monai/app": "",
        "/opt/mercure/module.py": _MERCURE,
        f"{ours}/gateway/__init__.py": package / "__init__.py",
        f"{ours}/gateway/operators": package / "operators",
    }
    podman.image("map:1", files, *changes)
    # The same files do for the others: only the manifests of a package must not be seen.
    plain = {path: data for path, data in files.items() if not path.startswith("/etc/monai")}
    entry = 'ENTRYPOINT ["python", "/opt/mercure/module.py"]'
    podman.image("mercure:1", plain, *changes, entry)
    register = 'ENTRYPOINT ["python", "-m", "gateway.operators.register_results"]'
    path = changes[0] + f":{ours}"
    podman.image("register-results:1", plain, path, changes[1], register)
