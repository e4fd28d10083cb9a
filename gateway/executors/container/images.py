"""Images: found, pulled when the policy says so, and pinned to what was found.

A container is made from the id of the image that was looked at, so what runs is what is recorded,
whatever becomes of the tag meanwhile.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gateway.errors import Permanent
from gateway.executors.container import secrets
from gateway.executors.container.api import Api, EngineError, NotThereError
from gateway.executors.stopping import StopFlag

log = logging.getLogger(__name__)

Policy = Literal["missing", "always", "never"]
PULL_PAUSES = (1.0, 4.0)
"""Waits before a pull that failed on its way to the registry is tried again."""
_ON_THE_WAY = (
    "timeout", "timed out", "connection refused", "connection reset", "no such host", "eof",
    "temporary failure", "toomanyrequests", "service unavailable", "bad gateway",
)  # fmt: skip


class ImageMissingError(Permanent):
    """An image that is not here and cannot be pulled; the message says why."""


class StoppedError(Exception):
    """The job was ended while something was waited for."""


@dataclass(frozen=True)
class Image:
    """An image of the engine."""

    reference: str
    """As the definition names it."""
    id: str
    digest: str
    """``name@sha256:…`` of its registry, or its id when it never had one."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)
class Images:
    """Images of one engine under one policy."""

    api: Api
    policy: Policy = "missing"
    secrets: Path | None = None
    """Folder of pull secrets."""

    def find(self, reference: str) -> Image | None:
        """The image if it is here; :class:`EngineError` if nobody can tell."""
        try:
            with self.api.session() as client:
                told: Mapping[str, Any] = client.inspect_image(reference)  # type: ignore[no-untyped-call]
                return _image(reference, told)
        except NotThereError:
            return None

    def obtain(self, reference: str, pull_secrets: tuple[str, ...], stop: StopFlag) -> Image:
        """The image, pulled if need be.

        Raises :class:`ImageMissingError`, :class:`EngineError`, and :class:`StoppedError` as soon
        as ``stop`` is set.
        """
        found = self.find(reference)
        pinned = "@" in reference
        if found is not None and (self.policy != "always" or pinned):
            return found
        if self.policy == "never":
            raise ImageMissingError(
                f"the image {reference} is not on this machine, and `container.pull` is never"
            )
        self._pull(reference, pull_secrets, stop)
        found = self.find(reference)
        if found is None:
            raise ImageMissingError(f"the image {reference} was pulled and is not there")
        return found

    def _pull(self, reference: str, names: tuple[str, ...], stop: StopFlag) -> None:
        try:
            login = secrets.find(self.secrets, names, reference)
        except secrets.SecretError as error:
            raise ImageMissingError(f"the image {reference} cannot be pulled: {error}") from error
        log.info("pulling an image", extra={"image": reference})
        for pause in (*PULL_PAUSES, None):
            fault = _apart(lambda: self._pull_once(reference, login), stop)
            if fault is None:
                return
            if pause is None or not any(word in fault.lower() for word in _ON_THE_WAY):
                raise ImageMissingError(f"the image {reference} cannot be pulled: {fault}")
            _pause(pause, stop)

    def _pull_once(self, reference: str, login: Mapping[str, str] | None) -> str | None:
        """What the engine says went wrong, or None."""
        name, at, digest = reference.partition("@")
        if not at:
            name, _, digest = reference.rpartition(":")
        try:
            with self.api.session(timeout=None) as client:
                told = client.pull(
                    name, tag=digest, stream=True, decode=True,
                    auth_config=None if login is None else dict(login),
                )  # fmt: skip
                for line in told:
                    if line.get("error"):
                        return " ".join(str(line["error"]).split())[:500]
        except EngineError as error:
            return str(error)
        return None


def _apart(work: Callable[[], str | None], stop: StopFlag) -> str | None:
    """The result of ``work``, done in a thread of its own; :class:`StoppedError` leaves it alone.

    No call of the SDK can be interrupted, and a pull that nobody waits for does no harm.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    results: list[str | None] = []

    def run() -> None:
        try:
            results.append(work())
        finally:
            os.close(writer)

    threading.Thread(target=run, name="image-pull", daemon=True).start()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(stop.fileno(), select.POLLIN)
    try:
        if reader not in {fd for fd, _ in poll.poll()}:
            raise StoppedError
    finally:
        os.close(reader)
    return results[0] if results else "the pull failed inside the gateway, see its log"


def _pause(seconds: float, stop: StopFlag) -> None:
    poll = select.poll()
    poll.register(stop.fileno(), select.POLLIN)
    if poll.poll(seconds * 1000):
        raise StoppedError


def _image(reference: str, told: Mapping[str, Any]) -> Image:
    config: Mapping[str, Any] = told.get("Config") or {}
    env = dict(
        entry.partition("=")[::2] for entry in config.get("Env") or () if not entry.startswith("=")
    )
    return Image(
        reference=reference,
        id=str(told["Id"]),
        digest=_digest(reference, told),
        entrypoint=_arguments(config.get("Entrypoint")),
        command=_arguments(config.get("Cmd")),
        env=env,
        folder=str(config.get("WorkingDir") or ""),
        stop_signal=str(config.get("StopSignal") or "SIGTERM"),
    )


def _digest(reference: str, told: Mapping[str, Any]) -> str:
    if "@" in reference:
        return reference
    digests = [str(d) for d in told.get("RepoDigests") or () if "@sha256:" in str(d)]
    name = reference.rpartition(":")[0]
    own = [digest for digest in digests if digest.partition("@")[0].endswith(name)]
    return (own or digests or [str(told["Id"])])[0]


def _arguments(told: Any) -> tuple[str, ...]:
    """A command as engines tell it: a list, a text, or nothing."""
    if told is None:
        return ()
    return (told,) if isinstance(told, str) else tuple(str(part) for part in told)
