"""What an image is called when an engine is asked for it."""

from __future__ import annotations


def reference_of(image: str, tag: str) -> str:
    """How an engine is asked for ``image`` and ``tag``; a digest wins over a tag."""
    name, at, digest = image.partition("@")
    if not at:
        tag, at, digest = tag.partition("@")
    if at:
        head, slash, last = name.rpartition("/")
        return f"{head}{slash}{last.partition(':')[0]}@{digest}"
    return f"{name}:{tag}"
