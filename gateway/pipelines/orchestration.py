"""What a job says about its definition: written for another engine, or ahead of its version."""

from __future__ import annotations

from gateway.pipelines.model import Definition
from gateway.pipelines.versions import ARGO, MODELS, at_least


def note(definition: Definition, engine: str) -> str | None:
    """A sentence for the job when the definition asks for Argo and ``engine`` is not it.

    ``engine`` is the executor's name.  None when there is nothing to say.
    """
    cause = asks_for_argo(definition)
    if cause is None or engine in ("argo", "kubernetes"):
        return None
    return f"the definition asks for Argo ({cause}); it runs on the {engine} executor"


def asks_for_argo(definition: Definition) -> str | None:
    """The key by which the definition asks for Argo: a Pod per operator; None = it does not."""
    if definition.orchestrator == "Argo":
        return "orchestrator Argo"
    if definition.orchestrator is None and definition.api_version in ARGO:
        return f"api-version {definition.api_version}"
    return None


def notes(definition: Definition, engine: str) -> tuple[str, ...]:
    """Everything worth a sentence: :func:`note`, and keys that came with a later version."""
    found = [note(definition, engine)]
    if not at_least(definition.api_version, MODELS):
        found += [
            f"{operator.name!r} asks for models, which came with {MODELS}; "
            f"the definition says {definition.api_version}"
            for operator in definition.operators
            if operator.models
        ]
    return tuple(text for text in found if text is not None)
