"""A base image for Containerfiles, without a registry: this machine's Python and libraries."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.podman import Podman, shell
from tests.support.programs import missing, program

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = ROOT / "deploy" / "containers"
BUILD_SECONDS = 1500
_MORE_APPLETS = ("chown", "dirname", "mktemp", "mv", "printf", "readlink", "rm", "sort", "which")
_UNWANTED = {"test", "idlelib", "__pycache__", "site-packages", "tkinter", "lib2to3"}
# What wheels take from the system, as their authors may: manylinux's list.
_LIBRARIES = (
    "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libexpat.so.1", "libm.so.6", "librt.so.1",
    "libdl.so.2", "libpthread.so.0", "libutil.so.1", "libc.so.6",
)  # fmt: skip


def wheels(*locks: str) -> Path:
    """A folder with every wheel of these locks, downloaded once and checked by hash."""
    cache = Path(os.environ.get("GATEWAY_TEST_CACHE") or Path.home() / ".cache" / "gateway-tests")
    digest = hashlib.sha256(sys.version.encode())
    for lock in locks:
        digest.update((CONTAINERS / lock).read_bytes())
    folder = cache / f"wheels-{digest.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "wheels.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            for lock in locks:
                _download(CONTAINERS / lock, partial)
            partial.rename(folder)
    return folder


def _download(lock: Path, folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
            "-r", str(lock), "-d", str(folder),
        ],
        capture_output=True, text=True, check=False, timeout=BUILD_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        missing(f"the wheels of {lock.name} cannot be had: {done.stderr.strip()[-500:]}")


def make_base(podman: Podman) -> str:
    """The image ``localhost/test/base:1``: Python with venv, busybox as shell, bubblewrap."""
    name = f"python3.{sys.version_info.minor}"
    binary = Path(sys.base_prefix, "bin", name).resolve()
    library = Path(sys.base_prefix, "lib", name).resolve()
    bwrap = Path(program("bwrap"))
    linked = _linked((binary, bwrap, *library.glob("lib-dynload/*.so")))
    files: dict[str, bytes | str | Path] = shell()
    files |= {f"/bin/{applet}": "->busybox" for applet in _MORE_APPLETS}
    files |= {_place(path): path.resolve() for path in linked}
    files |= {
        f"/usr/local/bin/{name}": binary,
        "/usr/local/bin/python": f"->{name}",
        "/usr/local/bin/python3": f"->{name}",
        "/usr/bin/bwrap": bwrap,
        # Sandboxes are tried with it, where Debian has it.
        "/usr/bin/true": "->/bin/busybox",
        "/etc/group": "root:x:0:\n",
        "/tmp/.keep": "",  # noqa: S108 - a path in the image
    }
    changes = ("ENV PATH=/usr/local/bin:/usr/bin:/bin",)
    small = podman.image("small:1", files, *changes)
    # The library apart: whole folders go in by tar, and ensurepip must come along.
    return _with_library(podman, small, library, f"/usr/local/lib/{name}")


def _place(library: Path) -> str:
    """Where a library goes: one of an interpreter elsewhere to those of the system."""
    if library.is_relative_to("/usr") or library.parts[1].startswith("lib"):
        return str(library)
    return f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/{library.name}"


def _with_library(podman: Podman, image: str, library: Path, target: str) -> str:
    context = podman.root / "base"
    context.mkdir()
    with tarfile.open(context / "library.tar", "w") as tar:
        tar.add(library, target.lstrip("/"), filter=_wanted)
    (context / "Containerfile").write_text(f"FROM {image}\nADD library.tar /\n")
    full = "localhost/test/base:1"
    build(podman, context / "Containerfile", full, context)
    shutil.rmtree(context)
    return full


def _wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if set(info.name.split("/")) & _UNWANTED or info.name.endswith(".a"):
        return None
    info.uid = info.gid = 0
    return info


def _linked(files: Iterable[Path]) -> set[Path]:
    found = set()
    for file in files:
        done = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)
        found |= {Path(word) for word in done.stdout.split() if word.startswith("/")}
    folder = next(path.parent for path in found if path.name == "libc.so.6")
    return found | {folder / name for name in _LIBRARIES if (folder / name).exists()}


def cli(podman: Podman, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Podman's command line on the storage of a test's own."""
    base = podman.command[: podman.command.index("system")]
    return subprocess.run(
        [*base, *arguments],
        capture_output=True, text=True, check=False, timeout=seconds,
        env=os.environ | dict(podman.environ),
    )  # fmt: skip


def build(podman: Podman, file: Path, tag: str, context: Path, *options: str) -> None:
    """Build an image without any network; asserts that it came about."""
    arguments: Sequence[str] = (
        "build", "--format", "docker", "--network", "none", "-f", str(file), "-t", tag,
        *options, str(context),
    )  # fmt: skip
    done = cli(podman, *arguments, seconds=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
