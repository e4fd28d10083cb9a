"""The base of every settings model: frozen, strict about unknown keys, kebab-case in files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Settings(BaseModel):
    """A frozen group of settings whose keys are written with hyphens."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_kebab,
        populate_by_name=True,
        use_attribute_docstrings=True,
        strict=False,
    )
