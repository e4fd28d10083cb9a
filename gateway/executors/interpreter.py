"""Which folders of the machine a Python program needs to see."""

from __future__ import annotations

import sys
from pathlib import Path

import gateway


def package_folder() -> Path:
    """The folder of the package ``gateway``."""
    return Path(gateway.__file__).parent


def search_path() -> str:
    """``PATH`` of an operator: the interpreter's own programs first, so ``python`` is ours."""
    folders = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    return ":".join(dict.fromkeys(folders))


def visible() -> list[Path]:
    """Folders outside ``/usr`` that our interpreter and the operators that ship are made of."""
    found = [Path(sys.prefix), *_base(Path(sys.prefix)), Path(sys.base_prefix)]
    found += [Path(sys.base_prefix).resolve()]
    package = package_folder()
    if not any(package.is_relative_to(folder) for folder in found):
        # An editable installation: the operators see themselves, not the gateway.
        found += [package / "__init__.py", package / "operators"]
    return outermost([p for p in found if not _in_usr(p)])


def installation(path: Path) -> list[Path]:
    """What must be seen for ``path`` to work: its virtual environment, or just itself."""
    environment = path.parent.parent
    if path.name == "tritonserver" and (environment / "backends").is_dir():
        return [] if _in_usr(path) else outermost([environment, environment.resolve()])
    if not (environment / "pyvenv.cfg").is_file():
        return [] if _in_usr(path) else outermost([path, path.resolve()])
    return outermost([p for p in (environment, *_base(environment)) if not _in_usr(p)])


def outermost(paths: list[Path]) -> list[Path]:
    """``paths`` without those that lie in another one, each once."""
    unique = list(dict.fromkeys(paths))
    return [p for p in unique if not any(p != q and p.is_relative_to(q) for q in unique)]


def _base(environment: Path) -> list[Path]:
    """The installation behind a virtual environment, by the link its interpreter is."""
    real = (environment / "bin" / "python").resolve()
    return [real.parent.parent] if real.is_file() else []


def _in_usr(path: Path) -> bool:
    usr = Path("/usr")
    return path.is_relative_to(usr) or path.resolve().is_relative_to(usr)
