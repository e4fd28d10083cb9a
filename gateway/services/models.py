"""Which models the gateway's Triton has loaded, for whom, and which ones make room for others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from gateway.errors import GatewayError
from gateway.executors.stopping import StopFlag
from gateway.services.errors import ServiceFault, ServiceLost

_ASK_SECONDS = 0.2
_NAMED = 20


class Control(Protocol):
    """Loads and unloads; raises GatewayError."""

    def load(self, model: str, timeout: float) -> None:
        """Load a model, anew if its files changed."""

    def unload(self, model: str, timeout: float) -> None:
        """Unload a model."""


class Models:
    """The models of one Triton; any thread.

    A model stays loaded after its last user until its place is needed.
    """

    def __init__(self, repository: Path, limit: int, load_seconds: float) -> None:
        self._repository = repository
        self._limit = limit
        self._seconds = load_seconds
        self._changed = threading.Condition()
        self._users: Counter[str] = Counter()
        self._loaded: dict[str, None] = {}
        """In order of their last use."""
        self._turn = threading.Lock()
        """Held by whoever loads or unloads."""

    @property
    def loaded(self) -> list[str]:
        """Those that are loaded, by name."""
        with self._changed:
            return sorted(self._loaded)

    def missing(self, wanted: Iterable[str]) -> str | None:
        """Why ``wanted`` can never be had, as a sentence that names model and repository."""
        names = sorted(set(wanted))
        absent = [name for name in names if not (self._repository / name).is_dir()]
        if absent:
            there = self._there()
            some = ", ".join(there[:_NAMED]) + (", …" if len(there) > _NAMED else "")
            which = ", ".join(map(repr, absent))
            kind = "the models" if len(absent) > 1 else "the model"
            return (
                f"{kind} {which} cannot be found in the model repository {self._repository}, "
                f"which holds: {some or 'nothing'}"
            )
        if len(names) > self._limit:
            return (
                f"it wants {len(names)} models at once, and `services.triton.model-limit` "
                f"allows {self._limit}"
            )
        return None

    def acquire(self, wanted: Sequence[str], control: Control, stop: StopFlag) -> None:
        """Load ``wanted`` and keep them loaded until :meth:`release`.

        Waits while too many others are in use.  Raises :class:`ServiceFault` for a model that
        cannot be loaded, :class:`ServiceLost` when Triton is away or ``stop`` is set; then nothing
        is kept.
        """
        names = list(dict.fromkeys(wanted))
        why = self.missing(names)
        if why is not None:
            raise ServiceFault(why)
        fresh = self._claim(names, stop)
        try:
            with self._turn:
                self._make_room(control)
                for name in names:
                    # One that others use now is left alone; else its files may have changed.
                    if name in fresh or name not in self.loaded:
                        control.load(name, self._seconds)
                        self._note(name)
        except GatewayError:
            self.release(names)
            raise

    def release(self, wanted: Sequence[str]) -> None:
        """What :meth:`acquire` kept is not needed any more."""
        with self._changed:
            for name in dict.fromkeys(wanted):
                self._users[name] -= 1
                if self._users[name] <= 0:
                    del self._users[name]
            self._changed.notify_all()

    def renew(self, control: Control) -> None:
        """Triton was started anew: load again what is in use; raises what loading raises."""
        with self._turn:
            with self._changed:
                self._loaded.clear()
                wanted = list(self._users)
            for name in wanted:
                control.load(name, self._seconds)
                self._note(name)

    def forget(self) -> None:
        """Triton ended: nothing is loaded."""
        with self._changed:
            self._loaded.clear()

    def _claim(self, names: Sequence[str], stop: StopFlag) -> set[str]:
        """Count a user for each as soon as they fit; those that nobody used before."""
        with self._changed:
            while len({*self._users, *names}) > self._limit:
                if stop.is_set:
                    raise ServiceLost("the job was ended while it waited for room for its models")
                self._changed.wait(_ASK_SECONDS)
            fresh = {name for name in names if not self._users[name]}
            self._users.update(names)
            return fresh

    def _make_room(self, control: Control) -> None:
        with self._changed:
            unused = [name for name in self._loaded if not self._users[name]]
            most = self._limit - len([n for n in self._users if n not in self._loaded])
            surplus = unused[: max(0, len(self._loaded) - most)]
        for name in surplus:
            control.unload(name, self._seconds)
            with self._changed:
                self._loaded.pop(name, None)

    def _note(self, name: str) -> None:
        with self._changed:
            self._loaded.pop(name, None)
            self._loaded[name] = None

    def _there(self) -> list[str]:
        try:
            found = [path.name for path in self._repository.iterdir() if path.is_dir()]
        except OSError:
            return []
        return sorted(name for name in found if not name.startswith("."))
