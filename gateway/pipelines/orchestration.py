"""Which engine a definition was written for, and what is said when another one runs it."""

from __future__ import annotations

from gateway.pipelines.model import Definition


def note(definition: Definition, engine: str) -> str | None:
    """A sentence for the job when the definition asks for Argo and ``engine`` is not it.

    ``engine`` is the executor's name.  None when there is nothing to say.
    """
    if engine in ("argo", "kubernetes"):
        return None
    if definition.orchestrator == "Argo":
        cause = "orchestrator Argo"
    elif definition.orchestrator is None and definition.api_version == "0.3.0":
        cause = "api-version 0.3.0"
    else:
        return None
    return f"the definition asks for Argo ({cause}); it runs on the {engine} executor"
